//! A reply's entry, with its descriptors, as a held session.

use super::checkpoint::Checkpoint;
use super::error::HolderError;
use super::link::Reply;
use super::session::{Held, Unusable};
use crate::holder::wire;
use crate::ring::Reader;
use std::sync::Arc;

pub(super) fn held(entry: wire::Entry, reply: Reply) -> Result<Held, Unusable> {
    let mut fds = reply.fds.into_iter();
    let opened = match (fds.next(), fds.next()) {
        (Some(ring), Some(wake)) => {
            Reader::open(&ring).map_err(HolderError::Ring).and_then(|ring| {
                let checkpoint = Checkpoint::of(&entry, fds.next())?;
                Ok((ring, wake, checkpoint))
            })
        }
        _ => Err(HolderError::Answer("descriptors are missing".to_owned())),
    };
    match opened {
        Ok((ring, wake, checkpoint)) => Ok(Held {
            id: entry.id,
            pid: entry.pid,
            start_time: entry.start_time,
            exit: entry.exit,
            cols: entry.cols,
            rows: entry.rows,
            blob: reply.tail,
            checkpoint,
            ring: Arc::new(ring),
            wake,
        }),
        Err(error) => Err(Unusable { entry: Box::new(entry), blob: reply.tail, error }),
    }
}
