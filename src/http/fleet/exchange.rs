//! One request on a stream to another machine, and its answer.

use crate::relay::RelayStream;
use actix_codec::Framed;
use actix_http::body::BodySize;
use actix_http::error::PayloadError;
use actix_http::h1::{ClientCodec, Message, MessageType};
use actix_http::{RequestHead, RequestHeadType, ResponseHead};
use actix_web::web::Bytes;
use futures_util::future::{Either, select};
use futures_util::{SinkExt, Stream, StreamExt};
use std::io;
use std::pin::pin;

/// What has come back: the head, and the stream behind it.
pub(super) struct Answer {
    pub(super) head: ResponseHead,
    framed: Framed<RelayStream, ClientCodec>,
}

/// Sends a request with its body, and reads the head of the answer, which may come before the whole body is
/// sent.
pub(super) async fn exchange(
    stream: RelayStream,
    head: RequestHead,
    size: BodySize,
    body: impl Stream<Item = Result<Bytes, PayloadError>>,
) -> io::Result<Answer> {
    let mut framed = Framed::new(stream, ClientCodec::default());
    let has_body = !matches!(size, BodySize::None | BodySize::Sized(0));
    let asked = Message::Item((RequestHeadType::from(head), size));
    framed.send(asked).await?;
    let (mut sink, mut source) = framed.split();
    let head = {
        let send = pin!(async {
            if has_body {
                let mut body = pin!(body);
                while let Some(piece) = body.next().await {
                    let piece = piece.map_err(io::Error::other)?;
                    sink.send(Message::Chunk(Some(piece))).await?;
                }
                sink.send(Message::Chunk(None)).await?;
            }
            io::Result::Ok(())
        });
        match select(send, source.next()).await {
            Either::Left((sent, head)) => {
                sent?;
                head.await
            }
            Either::Right((head, _)) => head,
        }
    };
    let head = head
        .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?
        .map_err(io::Error::other)?;
    let framed = sink.reunite(source).map_err(|_| io::Error::other("two halves of one stream"))?;
    Ok(Answer { head, framed })
}

impl Answer {
    /// The body of an answer that is no upgrade.
    pub(super) fn body(self) -> impl Stream<Item = Result<Bytes, PayloadError>> {
        let has_body = !matches!(self.framed.codec_ref().message_type(), MessageType::None);
        let framed = has_body.then(|| self.framed.into_map_codec(ClientCodec::into_payload_codec));
        futures_util::stream::unfold(framed, async |framed| {
            let mut framed = framed?;
            match framed.next().await {
                Some(Ok(Some(piece))) => Some((Ok(piece), Some(framed))),
                Some(Ok(None)) => None,
                Some(Err(error)) => Some((Err(error), None)),
                // The end is said; without it, half an answer must not look whole.
                None => Some((Err(PayloadError::Incomplete(None)), None)),
            }
        })
    }

    /// The stream of an upgrade, and what has come of it already.
    pub(super) fn upgraded(self) -> (RelayStream, Bytes) {
        let parts = self.framed.into_parts();
        (parts.io, parts.read_buf.freeze())
    }
}
