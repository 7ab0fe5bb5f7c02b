//! Large answers on their way to clients, in bounded memory and time.

use super::problem::{Problem, code};
use actix_web::body::{BodySize, MessageBody};
use actix_web::rt::{spawn, time::sleep};
use actix_web::web::Bytes;
use actix_web::{HttpResponse, HttpResponseBuilder};
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::task::JoinHandle;

/// The longest that a client may take to read a large answer, while others wait for its room.
const LIMIT: Duration = Duration::from_secs(60);

/// A request waits this long for room, then it is refused.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// The `Retry-After` of that refusal, in seconds.
const RETRY_S: u32 = 5;

/// The refusal of a request while other answers have all the room.
pub(super) fn no_room(detail: impl fmt::Display) -> Problem {
    let detail = format!("{detail}; ask again in a moment");
    Problem::new(code::UNAVAILABLE, detail).retry_after(RETRY_S)
}

/// Answers at once if one piece is all, as it mostly is; else piece by piece, each made once the
/// socket has taken the one before.
pub(super) fn answer(
    mut response: HttpResponseBuilder,
    mut pieces: impl Iterator<Item = Bytes> + 'static,
) -> HttpResponse {
    let first = pieces.next().unwrap_or_default();
    let Some(second) = pieces.next() else { return response.body(first) };
    let rest: Rest = Rc::new(RefCell::new(Some(Box::new(pieces))));
    let left = rest.clone();
    // A client that reads nothing never polls the body, so a timer takes its room back.
    let limit = spawn(async move {
        sleep(LIMIT).await;
        left.borrow_mut().take();
    });
    response.body(Body { begun: [second, first].into(), rest, limit, yielded: false })
}

/// The pieces that are still to be made. `None`: the time limit has passed.
type Rest = Rc<RefCell<Option<Box<dyn Iterator<Item = Bytes>>>>>;

struct Body {
    /// The pieces that are already made, the first of them last.
    begun: Vec<Bytes>,
    rest: Rest,
    limit: JoinHandle<()>,
    /// The next piece is made at the next poll.
    yielded: bool,
}

impl MessageBody for Body {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let this = self.get_mut();
        if let Some(piece) = this.begun.pop() {
            return Poll::Ready(Some(Ok(piece)));
        }
        // Without this, a socket that takes everything would keep the thread from its other
        // requests.
        this.yielded = !this.yielded;
        if this.yielded {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut rest = this.rest.borrow_mut();
        let Some(pieces) = rest.as_mut() else {
            // Closes the connection, so that no client takes a part for the whole.
            return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
        };
        Poll::Ready(pieces.next().map(Ok))
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.limit.abort();
    }
}
