//! Start-up: what the database says, what the holder holds and what still runs, brought
//! together (REQ-004-004 to REQ-004-007).

use super::actor::{Registry, transition};
use crate::holder::{Held, Holder, HolderError};
use crate::id::SessionId;
use crate::lifecycle::{Deadline, Effect, Event, Life, Now, Reason, Saved, Status, Timeouts};
use crate::protocol::Session;
use crate::session::{Blob, now, write_life};
use crate::store::{Change, Row, StoreError, StoreHandle};
use crate::tree::{self, Grace, ProcessId, Tree};
use actix::prelude::*;
use chrono::TimeDelta;
use slog::{info, warn};
use std::collections::HashMap;

/// Why nothing could be restored at all.
#[derive(Debug, thiserror::Error)]
pub(super) enum RestoreError {
    #[error("the database cannot be read: {0}")]
    Store(#[from] StoreError),
    #[error("the holder does not tell what it holds: {0}")]
    Holder(#[from] HolderError),
}

/// One session, as it was found.
pub(super) enum Found {
    /// The holder has it; a row is new if the database did not know it.
    Held { row: Row, saved: Saved, held: Held, unknown: bool },
    /// It had a process, and the holder does not have it.
    Lost { row: Row, saved: Saved },
    /// Its server died before it was spawned.
    NeverStarted { row: Row, saved: Saved },
}

/// Reads both sides and pairs them.
pub(super) async fn find(
    store: &StoreHandle,
    holder: &Holder,
    now: Now,
) -> Result<Vec<Found>, RestoreError> {
    let mut held: HashMap<SessionId, Held> =
        holder.adopt().await?.into_iter().map(|held| (held.id, held)).collect();
    let mut found = Vec::new();
    let boot_id = tree::boot_id().unwrap_or_default();
    for mut row in store.load_live().await? {
        let (pid, start_time) = match held.get(&row.session.id) {
            Some(held) => (held.pid, held.start_time),
            None => {
                let saved = saved(&row, None, &boot_id, now);
                found.push(match row.process {
                    Some(_) => Found::Lost { row, saved },
                    None => Found::NeverStarted { row, saved },
                });
                continue;
            }
        };
        // The holder knows best: the row may be from before the spawn was answered.
        row.session.pid = Some(pid);
        row.process = Some(ProcessId { pid, start_time, boot_id: boot_id.clone() });
        if let Some(held) = held.remove(&row.session.id) {
            let saved = saved(&row, Some(&held), &boot_id, now);
            row.ending = saved.ending;
            found.push(Found::Held { row, saved, held, unknown: false });
        }
    }
    for held in held.into_values() {
        // An ended session of which there is a row has only not been forgotten yet.
        let known = store.get(held.id).await?;
        let row = known.unwrap_or_else(|| unknown_row(&held, &boot_id, now));
        let saved = saved(&row, Some(&held), &boot_id, now);
        found.push(Found::Held { row, saved, held, unknown: true });
    }
    Ok(found)
}

/// What the state machine starts from.
fn saved(row: &Row, held: Option<&Held>, boot_id: &str, now: Now) -> Saved {
    let session = &row.session;
    let blob = held.and_then(|held| Blob::from_bytes(&held.blob));
    let timeouts =
        Timeouts { idle_s: session.idle_timeout_s, first_attach_s: session.first_attach_timeout_s };
    let ending = row.ending.or_else(|| blob.as_ref().and_then(Blob::ending));
    // A leader that has exited by itself ends its session by that and by nothing else.
    if held.is_some_and(|held| held.exit.is_some()) {
        let timeouts = Timeouts { idle_s: None, first_attach_s: None };
        return Saved { status: session.status, deadline: None, timeouts, ending };
    }
    let boot_ms = blob
        .filter(|blob| blob.boot_id.as_deref() == Some(boot_id))
        .and_then(|blob| blob.deadline_boot_ms);
    let deadline = session.destroy_at.map(|at| {
        let from_wall = || {
            let left = at.signed_duration_since(now.wall).max(TimeDelta::zero());
            now.boot_ms + u64::try_from(left.num_milliseconds()).unwrap_or(0)
        };
        Deadline { boot_ms: boot_ms.unwrap_or_else(from_wall), at }
    });
    Saved { status: session.status, deadline, timeouts, ending }
}

/// A row for a session that only the holder knows.
fn unknown_row(held: &Held, boot_id: &str, now: Now) -> Row {
    let blob = Blob::from_bytes(&held.blob).unwrap_or_default();
    Row {
        session: Session {
            id: held.id,
            name: blob.name.clone(),
            profile: blob.profile.clone(),
            command: blob.command.clone(),
            cwd: blob.cwd.clone(),
            status: Status::Running,
            active_connections: 0,
            created_at: blob.created_at,
            updated_at: now.wall,
            last_activity_at: now.wall,
            destroy_at: None,
            ended_at: None,
            end_reason: None,
            exit_code: None,
            exit_signal: None,
            pid: Some(held.pid),
            cols: held.cols,
            rows: held.rows,
            idle_timeout_s: blob.idle_timeout_s,
            first_attach_timeout_s: blob.first_attach_timeout_s,
            labels: blob.labels.clone(),
            title: None,
            offset: held.ring.head(),
        },
        ending: blob.ending(),
        process: Some(ProcessId {
            pid: held.pid,
            start_time: held.start_time,
            boot_id: boot_id.to_owned(),
        }),
    }
}

impl Registry {
    /// Brings to life what was found, and sweeps up what was not.
    pub(super) fn restore(&mut self, found: Vec<Found>, at: Now, ctx: &mut Context<Self>) {
        let (mut held_count, mut lost) = (0, 0);
        for found in found {
            match found {
                Found::Held { row, saved, held, unknown } => {
                    held_count += 1;
                    if !saved.status.is_live() {
                        // Ended and written; the server died before it could say so.
                        let (holder, id) = (self.holder.clone(), held.id);
                        ctx.spawn(async move { drop(holder.forget(id).await) }.into_actor(self));
                        continue;
                    }
                    if unknown {
                        warn!(self.log, "the holder holds a session without a row: adopted";
                            "session" => %held.id, "pid" => held.pid);
                        let (from, to) = (None, saved.status);
                        self.store.save(Change {
                            row: row.clone(),
                            transition: Some(transition(
                                &self.log,
                                row.session.id,
                                at,
                                from,
                                to,
                                Reason::Created,
                            )),
                        });
                    }
                    let life = Life::restore(saved, at);
                    self.admit(row, held, life, true, ctx);
                }
                Found::Lost { row, saved } => {
                    lost += 1;
                    self.sweep(row, Life::restore(saved, at).0, Event::Orphaned, ctx);
                }
                Found::NeverStarted { row, saved } => {
                    lost += 1;
                    self.sweep(row, Life::restore(saved, at).0, Event::SpawnFailed, ctx);
                }
            }
        }
        info!(self.log, "restored"; "held" => held_count, "lost" => lost);
        self.restored.send_replace(true);
    }

    /// Ends what is left of a session that the holder does not hold, and says so in its row.
    fn sweep(&self, mut row: Row, mut life: Life, event: Event, ctx: &mut Context<Self>) {
        let tree = Tree {
            id: row.session.id,
            leader: row.process.clone(),
            holder: Some(self.holder.pid()),
        };
        let swept = actix_web::rt::task::spawn_blocking(move || tree.end(Grace::default()));
        ctx.spawn(swept.into_actor(self).map(move |_, registry, _| {
            let at = now();
            let effects = life.apply(event, at).or_else(|_| life.apply(Event::RestoreFailed, at));
            write_life(&mut row, &life);
            let recorded = effects.into_iter().flatten().find_map(|effect| match effect {
                Effect::Record { from, to, reason } => Some((from, to, reason)),
                _ => None,
            });
            if let Some((from, to, reason)) = recorded {
                let transition =
                    Some(transition(&registry.log, row.session.id, at, from, to, reason));
                registry.store.save(Change { row, transition });
            }
        }));
    }
}
