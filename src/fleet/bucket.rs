//! The directory's buckets in NATS: how they are made, and how a line of one's own is written.
//!
//! A bucket is a stream whose subjects are the keys. Machines that may write nothing but their own lines must
//! not be able to remove those of others, so the streams refuse messages that roll up older ones; and
//! without these, NATS sets no markers where a line has gone by its age, which readers count themselves.

use super::limits::LINE_MAX;
use crate::relay::NodeName;
use async_nats::jetstream::context::{Context, PublishErrorKind};
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{Config, DirectGetErrorKind, DiscardPolicy, StorageType};
use async_nats::{HeaderMap, StatusCode};
use bytes::Bytes;
use std::time::Duration;
use tokio::time::timeout;

/// The machines: a key is a name.
pub(super) const NODES: &str = "stayd-nodes";
/// Their sessions: a key is a name, a dot, and a session's id, or [`ITSELF`].
pub(super) const SESSIONS: &str = "stayd-sessions";
/// Where sessions were placed that were asked for with a key.
pub(super) const PLACEMENTS: &str = "stayd-placements";
/// All of them.
pub(super) const ALL: [&str; 3] = [NODES, SESSIONS, PLACEMENTS];
/// In place of a session's id: the machine's record once more, which stays when the machine is gone.
pub(super) const ITSELF: &str = "node";
/// How long a machine's record stands: it is offline after that.
pub(super) const NODE_AGE: Duration = Duration::from_secs(10);
/// How long a session's line stands that is not put again.
pub(super) const SESSION_AGE: Duration = Duration::from_secs(24 * 3600);
/// What the sessions may take of NATS' memory, in bytes. Whoever fills that leaves the others their room.
const SESSIONS_BYTES: i64 = 192 << 20;
/// The same for machines, and for placements.
const OTHER_BYTES: i64 = 16 << 20;
/// How long NATS may take to answer.
pub(super) const ANSWER: Duration = Duration::from_secs(4);

/// Why a line could not be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum PutError {
    /// Somebody else has written it since.
    #[error("the line was written by another machine")]
    Conflict,
    /// There is no such bucket yet.
    #[error("the directory is not there yet")]
    NoBucket,
    /// NATS did not take it.
    #[error("{0}")]
    Failed(String),
}

/// The reason for which a line could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// Nobody answers for the bucket: it was not made yet, or NATS has no JetStream.
    #[error("the directory is not there yet")]
    NoBucket,
    /// NATS did not say it.
    #[error("{0}")]
    Failed(String),
}

/// Makes the buckets, unless they are there.
pub(super) async fn make_all(context: &Context) -> Result<(), String> {
    for name in ALL {
        let mut why = String::new();
        // Three copies where there is a cluster.
        let mut is_made = false;
        for copies in [3, 1] {
            let config = config(name, copies);
            match timeout(ANSWER, context.create_stream(config)).await {
                Ok(Ok(_)) => is_made = true,
                Ok(Err(error)) => why = error.to_string(),
                Err(_) => why = "no answer".to_owned(),
            }
            if is_made {
                break;
            }
        }
        let is_there = || async {
            let opened = timeout(ANSWER, context.get_key_value(name)).await;
            matches!(opened, Ok(Ok(_)))
        };
        // One that was made with other settings does as well.
        if !is_made && !is_there().await {
            return Err(format!("the bucket {name} cannot be made: {why}"));
        }
    }
    Ok(())
}

fn config(name: &str, num_replicas: usize) -> Config {
    let max_age = if name == NODES { NODE_AGE } else { SESSION_AGE };
    let max_bytes = if name == SESSIONS { SESSIONS_BYTES } else { OTHER_BYTES };
    Config {
        name: format!("KV_{name}"),
        subjects: vec![format!("$KV.{name}.>")],
        max_messages_per_subject: 1,
        max_message_size: LINE_MAX as i32,
        max_age,
        max_bytes,
        storage: StorageType::Memory,
        discard: DiscardPolicy::New,
        num_replicas,
        allow_direct: true,
        deny_delete: true,
        deny_purge: true,
        allow_rollup: false,
        ..Config::default()
    }
}

/// The settings that matter in which a bucket differs from those that stayd makes.
pub(super) fn differences(name: &str, found: &Config, is_cluster: bool) -> Vec<String> {
    let own = config(name, 1);
    let flags = [
        ("deny_delete", found.deny_delete, own.deny_delete),
        ("deny_purge", found.deny_purge, own.deny_purge),
        ("allow_rollup_hdrs", found.allow_rollup, own.allow_rollup),
        ("allow_direct", found.allow_direct, own.allow_direct),
    ];
    let flags = flags.into_iter().filter(|(_, found, own)| found != own);
    let mut all: Vec<String> =
        flags.map(|(flag, found, own)| format!("{flag} is {found} and not {own}")).collect();
    if found.max_age != own.max_age {
        all.push(format!("lines stand for {:?} and not {:?}", found.max_age, own.max_age));
    }
    if found.max_messages_per_subject != own.max_messages_per_subject {
        all.push(format!("{} versions of a line are kept", found.max_messages_per_subject));
    }
    if is_cluster && found.num_replicas == 1 {
        all.push("one server of the cluster alone has it".to_owned());
    }
    all
}

/// The subject of a key.
pub(super) fn line(bucket: &str, key: &str) -> String {
    format!("$KV.{bucket}.{key}")
}

/// Writes a line; `after`: only if its last version is this one, 0 for none. Returns the new version.
pub(super) async fn put(
    context: &Context,
    subject: String,
    value: Bytes,
    after: Option<u64>,
) -> Result<u64, PutError> {
    let mut headers = HeaderMap::new();
    if let Some(after) = after {
        headers.insert("Nats-Expected-Last-Subject-Sequence", after.to_string());
    }
    send(context, subject, headers, value).await
}

/// Removes a line; `after` as in [`put`].
pub(super) async fn remove(
    context: &Context,
    subject: String,
    after: Option<u64>,
) -> Result<u64, PutError> {
    let mut headers = HeaderMap::new();
    headers.insert("KV-Operation", "DEL");
    if let Some(after) = after {
        headers.insert("Nats-Expected-Last-Subject-Sequence", after.to_string());
    }
    send(context, subject, headers, Bytes::new()).await
}

async fn send(
    context: &Context,
    subject: String,
    headers: HeaderMap,
    value: Bytes,
) -> Result<u64, PutError> {
    let failed = |error: &dyn std::fmt::Display| PutError::Failed(error.to_string());
    let written = timeout(ANSWER, async {
        let receipt = context.publish_with_headers(subject, headers, value).await?;
        receipt.await
    });
    match written.await {
        Err(_) => Err(PutError::Failed("NATS did not answer in time".into())),
        Ok(Ok(receipt)) => Ok(receipt.sequence),
        Ok(Err(error)) => Err(match error.kind() {
            PublishErrorKind::WrongLastSequence => PutError::Conflict,
            PublishErrorKind::StreamNotFound => PutError::NoBucket,
            _ => failed(&error),
        }),
    }
}

/// A machine's record as the directory has it, with its version; `None`: there is none.
pub(super) async fn record_of(
    context: &Context,
    name: &NodeName,
) -> Result<Option<(Bytes, u64)>, ReadError> {
    let last = last_of(context, name).await?;
    Ok(last.map(|message| (message.payload, message.sequence)))
}

/// What was last put in a machine's own line, or that it was removed; `None`: neither.
pub(super) async fn last_of(
    context: &Context,
    name: &NodeName,
) -> Result<Option<StreamMessage>, ReadError> {
    let failed = |error: &dyn std::fmt::Display| ReadError::Failed(error.to_string());
    let read = async {
        let stream = context.get_stream_no_info(format!("KV_{NODES}")).await;
        let stream = stream.map_err(|error| failed(&error))?;
        match stream.direct_get_last_for_subject(line(NODES, name.as_str())).await {
            Ok(message) => Ok(Some(message)),
            Err(error) => match error.kind() {
                DirectGetErrorKind::NotFound => Ok(None),
                DirectGetErrorKind::ErrorResponse(StatusCode::NO_RESPONDERS, _) => {
                    Err(ReadError::NoBucket)
                }
                _ => Err(failed(&error)),
            },
        }
    };
    timeout(ANSWER, read).await.unwrap_or_else(|_| Err(failed(&"NATS did not answer in time")))
}
