//! This machine's line in the directory, put again every few seconds, and with it the machine's name: nobody
//! else has it while the line stands.

use super::bucket::{self, NODES, PutError, line, make_all, put, record_of};
use super::record::NodeRecord;
use crate::registry::Roster;
use crate::relay::NodeName;
use async_nats::jetstream::context::Context;
use slog::{Logger, error, info, warn};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

/// How often the line is put.
const EVERY: Duration = Duration::from_secs(3);

/// How this machine stands in the fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has not been told to the directory yet.
    #[default]
    Unknown,
    /// It has its name.
    Member,
    /// Another machine has its name.
    Refused,
}

/// What the heart beats with.
pub(super) struct Heart {
    pub(super) context: Context,
    pub(super) name: NodeName,
    pub(super) record: NodeRecord,
    pub(super) roster: Roster,
    /// Whether this machine may make the directory.
    pub(super) makes_buckets: bool,
    pub(super) standing: watch::Sender<Standing>,
    pub(super) log: Logger,
}

impl Heart {
    /// Beats until the server ends, at once after each connection.
    pub(super) async fn beat(mut self, mut connected: watch::Receiver<u64>) {
        let mut every = interval(EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut version, mut complained) = (None, false);
        loop {
            tokio::select! {
                _ = every.tick() => {}
                changed = connected.changed() => match changed {
                    // The directory may have been lost with its servers.
                    Ok(()) => version = None,
                    Err(_) => return,
                },
            }
            if *connected.borrow() == 0 {
                continue;
            }
            match self.put(version).await {
                Ok(now) => {
                    version = Some(now);
                    complained = false;
                    self.stands(Standing::Member);
                }
                Err(PutError::Conflict) => version = None,
                Err(PutError::NoBucket) if self.makes_buckets => {
                    version = None;
                    match make_all(&self.context).await {
                        Ok(()) => every.reset_immediately(),
                        Err(why) => self.complain(&why, &mut complained),
                    }
                }
                Err(error) => {
                    version = None;
                    self.complain(&error.to_string(), &mut complained);
                }
            }
        }
    }

    fn complain(&self, why: &str, complained: &mut bool) {
        if !std::mem::replace(complained, true) {
            warn!(self.log, "this machine cannot be told to the fleet; it is tried again"; "why" => why);
        }
    }

    fn stands(&self, now: Standing) {
        let changed = self.standing.send_if_modified(|standing| {
            let is_new = *standing != now;
            *standing = now.clone();
            is_new
        });
        match now {
            Standing::Member if changed => {
                info!(self.log, "this machine is in the fleet"; "name" => %self.name);
            }
            Standing::Refused if changed => {
                error!(self.log, "another machine of the fleet has this one's name: give it another one \
                    (fleet.name, --fleet-name), or end the other"; "name" => %self.name);
            }
            _ => {}
        }
    }

    /// Puts the line after this version of it, or after what stands there if that is ours or nobody's.
    async fn put(&mut self, version: Option<u64>) -> Result<u64, PutError> {
        let after = match version {
            Some(version) => version,
            None => match record_of(&self.context, &self.name).await {
                Ok(None) => 0,
                Ok(Some((record, version))) if self.is_ours(&record) => version,
                Ok(Some(_)) => {
                    self.stands(Standing::Refused);
                    return Err(PutError::Conflict);
                }
                // Where it cannot be read, there may be none.
                Err(_) => 0,
            },
        };
        let text = self.record.text(self.roster.living());
        let subject = line(NODES, self.name.as_str());
        put(&self.context, subject, text.into(), Some(after)).await
    }

    /// A line that was removed is nobody's.
    fn is_ours(&self, record: &[u8]) -> bool {
        let read = serde_json::from_slice::<NodeRecord>(record);
        read.map_or(record.is_empty(), |record| record.instance == self.record.instance)
    }
}

/// Takes this machine's line out, as its server stops.
pub(super) async fn leave(context: &Context, name: &NodeName) {
    let _ = bucket::remove(context, line(NODES, name.as_str()), None).await;
}
