//! The blob that the holder keeps of a session, opaque to it: enough to adopt the session without
//! a database row, and the deadline on a clock that nobody can set.

use super::causes::Causes;
use super::record::Record;
use crate::holder::{BLOB_MAX, Holder};
use crate::id::SessionId;
use crate::lifecycle::{EndReason, Ending, Signals, Status};
use crate::protocol::{IdleWhen, Recording, RestartPolicy, SizePolicy};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use slog::{Logger, warn};
use std::collections::BTreeMap;
use uuid::Uuid;

/// JSON of at most [`BLOB_MAX`] bytes; fields that a future server adds are ignored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Blob {
    /// The session's name.
    pub name: Option<String>,
    /// The profile that named the command.
    pub profile: Option<String>,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Directory it was started in.
    pub cwd: String,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// Where the session was in its life; null where an earlier version wrote the blob.
    pub status: Option<Status>,
    /// Seconds; null: never.
    pub idle_timeout_s: Option<u64>,
    /// The timeout before it was kept for good.
    pub idle_timeout_before_s: Option<u64>,
    /// What counts as idle.
    pub idle_when: IdleWhen,
    /// Seconds; null: no limit.
    pub first_attach_timeout_s: Option<u64>,
    /// Free words.
    pub labels: BTreeMap<String, String>,
    /// True if `labels` has all labels. False where the blob had no room for them, and in blobs of
    /// versions without this field.
    pub all_labels: bool,
    /// CLOCK_BOOTTIME, in milliseconds, at which it is to be destroyed.
    pub deadline_boot_ms: Option<u64>,
    /// The boot for which that clock counts.
    pub boot_id: Option<String>,
    /// A kill that was begun.
    pub ending_reason: Option<EndReason>,
    /// When it was begun.
    pub ending_since: Option<DateTime<Utc>>,
    /// When the command is to be started again; null: the session ends for good.
    pub restart_at: Option<DateTime<Utc>>,
    /// The policy for the terminal's size.
    pub size_policy: SizePolicy,
    /// Whether its command is started again.
    pub restart: RestartPolicy,
    /// The recording mode.
    pub recording: Recording,
    /// Signals that were asked for.
    pub signals: Signals,
    /// The name of the principal that created it.
    pub owner: Option<String>,
    /// Which token of that name, if it was one.
    pub owner_token: Option<Uuid>,
    /// The principals that asked for its end and its last signal.
    pub causes: Causes,
}

impl Blob {
    /// The blob of a session.
    #[must_use]
    pub(crate) fn of(record: &Record) -> Self {
        let (row, life) = (&record.row, record.life());
        let session = &row.session;
        Blob {
            name: session.name.clone(),
            profile: session.profile.clone(),
            command: session.command.clone(),
            cwd: session.cwd.clone(),
            created_at: session.created_at,
            status: Some(session.status),
            idle_timeout_s: session.idle_timeout_s,
            idle_timeout_before_s: session.idle_timeout_before_s,
            idle_when: session.idle_when,
            first_attach_timeout_s: session.first_attach_timeout_s,
            labels: session.labels.clone(),
            all_labels: true,
            deadline_boot_ms: life.deadline().map(|deadline| deadline.boot_ms),
            boot_id: crate::tree::boot_id().ok(),
            ending_reason: life.ending().map(|ending| ending.reason),
            ending_since: life.ending().map(|ending| ending.since),
            restart_at: session.restart_at,
            size_policy: session.size_policy,
            restart: session.restart,
            recording: session.recording,
            signals: life.snapshot().signals,
            owner: session.owner.clone(),
            owner_token: session.owner_token,
            causes: record.causes().clone(),
        }
    }

    /// Leaves it with the holder, for a server that finds no row.
    pub(super) fn leave(&self, id: SessionId, holder: &Holder, log: &Logger) {
        // Sent before the row is: whoever finds both takes the blob for the newer.
        let (kept, log) = (holder.set_blob(id, &self.to_bytes()), log.clone());
        actix::spawn(async move {
            if let Err(error) = kept.await {
                warn!(log, "the holder did not keep a blob"; "session" => %id, "error" => %error);
            }
        });
    }

    /// The deadline on CLOCK_BOOTTIME, in milliseconds, if that still counts in this boot.
    #[must_use]
    pub fn deadline_in(&self, boot_id: &str) -> Option<u64> {
        self.deadline_boot_ms.filter(|_| self.boot_id.as_deref() == Some(boot_id))
    }

    /// The kill that was begun, if one was.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        Some(Ending { reason: self.ending_reason?, since: self.ending_since? })
    }

    /// As the holder keeps it. Where it would be too long, labels go first, then
    /// arguments, then the directory: they are for people, the rest is for the server.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut blob = self.clone();
        loop {
            // Strings, numbers and lists of them: nothing that could fail to be written.
            let bytes = serde_json::to_vec(&blob).unwrap_or_default();
            if bytes.len() <= BLOB_MAX {
                return bytes;
            }
            if !blob.labels.is_empty() {
                blob.labels.clear();
                blob.all_labels = false;
            } else if blob.command.len() > 1 {
                blob.command.truncate(1);
            } else if !blob.cwd.is_empty() {
                blob.cwd.clear();
            } else {
                blob.command.clear();
            }
        }
    }

    /// Reads the blob of an earlier server; `None` if it cannot be read.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_survives_and_fits() {
        let mut blob = Blob {
            name: Some("build".into()),
            command: vec!["make".into(), "x".repeat(5000)],
            deadline_boot_ms: Some(7),
            all_labels: true,
            owner_token: Some(Uuid::now_v7()),
            ..Blob::default()
        };
        blob.labels.insert("k".into(), "v".repeat(5000));
        let kept = Blob::from_bytes(&blob.to_bytes()).unwrap();
        assert_eq!(kept.name.as_deref(), Some("build"));
        assert_eq!(kept.command, ["make"]);
        assert_eq!(kept.deadline_boot_ms, Some(7));
        assert_eq!(kept.owner_token, blob.owner_token);
        assert!(kept.labels.is_empty() && !kept.all_labels);
        let small = Blob { name: Some("a".into()), ..Blob::default() };
        assert_eq!(Blob::from_bytes(&small.to_bytes()), Some(small));
        assert_eq!(Blob::from_bytes(b"\xff"), None);
    }
}
