//! Signals a session's processes, and ends them.

use super::requests::{Signal, SignalError, SignalTarget};
use crate::holder::Holder;
use crate::tree::{Grace, Tree};
use actix_web::rt::task::spawn_blocking;
use actix_web::rt::time::sleep;
use slog::{Logger, warn};
use std::time::Duration;

/// Between attempts to see a tree while /proc cannot be read, for want of a descriptor say.
const BLIND_RETRY: Duration = Duration::from_secs(1);
/// After how long processes that did not end are tried again.
const LEFT_RETRY: Duration = Duration::from_secs(5);

/// Ends a tree, as soon as its processes can be seen: before, their end must not be written.
/// True: nothing of it is left.
pub(crate) async fn end_tree(tree: &Tree, log: &Logger) -> bool {
    loop {
        let seen = tree.clone();
        match spawn_blocking(move || seen.end(Grace::default())).await {
            Ok(Ok(report)) if report.left.is_empty() => return true,
            Ok(Ok(report)) => {
                let pids: Vec<_> = report.left.iter().map(|member| member.pid).collect();
                warn!(log, "processes of a session do not end"; "session" => %tree.id, "pids" => ?pids);
                return false;
            }
            Ok(Err(error)) => {
                warn!(log, "cannot see what is left of a session"; "session" => %tree.id, "error" => %error);
                sleep(BLIND_RETRY).await;
            }
            Err(error) => {
                warn!(log, "ending a tree failed"; "session" => %tree.id, "error" => %error);
                return false;
            }
        }
    }
}

/// Ends a tree, and goes on until nothing of it is left, however long that takes.
pub(super) async fn end_whole_tree(tree: &Tree, log: &Logger) {
    while !end_tree(tree, log).await {
        sleep(LEFT_RETRY).await;
    }
}

/// Sends a signal to the foreground, or to all.
pub(super) async fn send(
    signal: Signal,
    tree: Tree,
    holder: Holder,
    log: Logger,
) -> Result<(), SignalError> {
    let (id, number) = (tree.id, signal.signal);
    match signal.to {
        SignalTarget::Foreground => holder.signal(id, number).await?,
        SignalTarget::Tree => {
            if let Err(error) = spawn_blocking(move || tree.signal(number)).await {
                warn!(log, "signalling a tree failed"; "session" => %id, "error" => %error);
            }
        }
    }
    Ok(())
}
