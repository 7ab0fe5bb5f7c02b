//! Uploads under way, one piece at a time, and which are whole, as long as the server lives.

use crate::id::SessionId;
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use tokio::sync::MutexGuard;

/// How many uploads are remembered that are whole.
const FINISHED_MAX: usize = 256;
/// How many pieces of different uploads are written at the same time, at most.
const AT_ONCE: usize = 16;

/// Which upload it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UploadId {
    /// The session.
    pub session: SessionId,
    /// The client's name for the upload, and the name of the file.
    pub key: (String, String),
    /// The length of the file, in bytes.
    pub total: u64,
    /// Whether it goes into the folder for uploads.
    pub apart: bool,
}

/// The last uploads that are whole, with the paths of their files: a client that has not heard the last
/// answer repeats its last piece.
#[derive(Debug, Default)]
pub struct Finished {
    whole: Mutex<VecDeque<(UploadId, String)>>,
    writing: [tokio::sync::Mutex<()>; AT_ONCE],
}

impl Finished {
    /// Waits until no other piece of this upload is being written.
    pub async fn alone(&self, upload: &UploadId) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        upload.hash(&mut hasher);
        let [first, ..] = &self.writing;
        let place = usize::try_from(hasher.finish() % AT_ONCE as u64).unwrap_or(0);
        self.writing.get(place).unwrap_or(first).lock().await
    }

    /// The path of an upload's file, if it is whole.
    #[must_use]
    pub fn path(&self, upload: &UploadId) -> Option<String> {
        let whole = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        whole.iter().find(|(one, _)| one == upload).map(|(_, path)| path.clone())
    }

    /// An upload is whole; the oldest is forgotten for it.
    pub fn add(&self, upload: UploadId, path: &str) {
        let mut whole = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        if whole.len() >= FINISHED_MAX {
            whole.pop_front();
        }
        whole.push_back((upload, path.to_owned()));
    }
}
