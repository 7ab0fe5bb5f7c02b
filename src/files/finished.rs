//! Which uploads are whole, as long as the server lives.

use crate::id::SessionId;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// How many uploads are remembered that are whole.
const FINISHED_MAX: usize = 256;

/// The last uploads that are whole, with the paths of their files: a client that has not heard the last
/// answer repeats its last piece.
#[derive(Debug, Default)]
pub struct Finished(Mutex<VecDeque<(SessionId, String, String)>>);

impl Finished {
    /// The path of an upload's file, if it is whole.
    #[must_use]
    pub fn path(&self, session: SessionId, upload: &str) -> Option<String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |(id, key, _): &&(SessionId, String, String)| *id == session && key == upload;
        all.iter().find(is_it).map(|(_, _, path)| path.clone())
    }

    /// An upload is whole; the oldest is forgotten for it.
    pub fn add(&self, session: SessionId, upload: &str, path: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= FINISHED_MAX {
            all.pop_front();
        }
        all.push_back((session, upload.to_owned(), path.to_owned()));
    }
}
