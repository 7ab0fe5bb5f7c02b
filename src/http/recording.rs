//! A session's recording, for players.

use super::caller::CallerApi;
use super::problem::{Problem, code};
use super::query::Query;
use crate::protocol::Session;
use crate::recorder::{Playback, cast};
use crate::rights::Action;
use actix_web::HttpResponse;
use actix_web::http::header::{
    Charset, ContentDisposition, DispositionParam, DispositionType, ExtendedValue,
};
use actix_web::web::{self, Bytes, Path};
use futures_util::Stream;
use futures_util::stream::try_unfold;
use serde::Deserialize;
use std::io;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RecordingQuery {
    /// The number of one file, from 1; missing: all files as one.
    file: Option<u32>,
}

pub(super) async fn recording(
    api: CallerApi,
    id: Path<String>,
    Query(query): Query<RecordingQuery>,
) -> Result<HttpResponse, Problem> {
    let session = api.session(&id).await?;
    // Flushes first, so that the answer has all output of now, also of a session that has just
    // ended.
    api.recorder.flush(session.id).await;
    let with_input = api.caller.may(Action::RecordedInput, &session).is_ok();
    let (recorder, id, file) = (api.recorder.clone(), session.id, query.file);
    let opened =
        web::block(move || recorder.open(id, file, with_input)).await.map_err(io::Error::other);
    let playback = opened.flatten().map_err(|error| unreadable(&error))?;
    let playback = playback.ok_or_else(|| missing(&session, file))?;
    Ok(HttpResponse::Ok()
        .content_type(cast::CONTENT_TYPE)
        .insert_header(attachment(&session))
        .streaming(chunks(playback)))
}

/// A body that the connection pulls: no more than a chunk is in memory, and no thread waits for a
/// slow network.
fn chunks(playback: Playback) -> impl Stream<Item = io::Result<Bytes>> {
    try_unfold(playback, |mut playback| async {
        let read = web::block(move || playback.next_chunk().map(|chunk| (chunk, playback))).await;
        let (chunk, playback) = read.map_err(io::Error::other)??;
        Ok(chunk.map(|chunk| (chunk, playback)))
    })
}

fn attachment(session: &Session) -> ContentDisposition {
    let id = session.id.to_string();
    let name = format!("{}.cast", session.name.as_deref().unwrap_or(&id));
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "._- ".contains(c) { c } else { '_' })
        .collect();
    let mut parameters = vec![DispositionParam::Filename(plain.clone())];
    if plain != name {
        parameters.push(DispositionParam::FilenameExt(ExtendedValue {
            charset: Charset::Ext("UTF-8".into()),
            language_tag: None,
            value: name.into_bytes(),
        }));
    }
    ContentDisposition { disposition: DispositionType::Attachment, parameters }
}

fn missing(session: &Session, file: Option<u32>) -> Problem {
    let detail = match file {
        Some(file) => format!("there is no file {file} of a recording of this session"),
        None => {
            format!("the session is not recorded; its setting is {}", session.recording.as_str())
        }
    };
    Problem::new(code::NO_RECORDING, detail)
}

fn unreadable(error: &io::Error) -> Problem {
    let detail = format!("the recording cannot be read: {error}");
    Problem::new(code::INTERNAL, detail)
}
