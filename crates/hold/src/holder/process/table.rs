//! The held sessions, found by slot, by id and by their leader's process id.

use super::session::Session;
use super::token::SlotKey;
use crate::id::SessionId;
use nix::unistd::Pid;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
    ids: BTreeMap<SessionId, SlotKey>,
    leaders: HashMap<Pid, SlotKey>,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    session: Option<Box<Session>>,
}

impl Table {
    /// Puts a session of an earlier holder into its slot.
    pub(super) fn restore(&mut self, session: Box<Session>) {
        let slot = session.key.slot;
        while self.slots.len() <= slot as usize {
            self.free.push(u32::try_from(self.slots.len()).unwrap_or(u32::MAX));
            self.slots.push(Slot::default());
        }
        self.free.retain(|free| *free != slot);
        self.put(session);
    }

    /// The key of the next session. Call `insert` with it before the next call.
    pub(super) fn next_key(&mut self) -> SlotKey {
        if self.free.is_empty() {
            let slot = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
            self.slots.push(Slot::default());
            self.free.push(slot);
        }
        let slot = self.free.last().copied().unwrap_or(u32::MAX);
        let generation = self.slots.get(slot as usize).map_or(0, |slot| slot.generation);
        SlotKey::new(slot, generation)
    }

    pub(super) fn insert(&mut self, session: Box<Session>) {
        self.next_key();
        self.free.pop();
        self.put(session);
    }

    fn put(&mut self, session: Box<Session>) {
        let key = session.key;
        self.ids.insert(session.id, key);
        self.leaders.insert(session.leader, key);
        if let Some(slot) = self.slots.get_mut(key.slot as usize) {
            slot.session = Some(session);
        }
    }

    /// Removes a session, and frees what is kept of it.
    pub(super) fn remove(&mut self, key: SlotKey) {
        if self.get(key).is_none() {
            return;
        }
        let Some(slot) = self.slots.get_mut(key.slot as usize) else { return };
        let Some(session) = slot.session.take() else { return };
        session.slot.release();
        // A late event of this session is then not taken for its successor's.
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(key.slot);
        self.ids.remove(&session.id);
        if self.leaders.get(&session.leader) == Some(&key) {
            self.leaders.remove(&session.leader);
        }
    }

    pub(super) fn get(&mut self, key: SlotKey) -> Option<&mut Session> {
        let slot = self.slots.get_mut(key.slot as usize)?;
        let same = SlotKey::new(key.slot, slot.generation) == key;
        slot.session.as_deref_mut().filter(|_| same)
    }

    pub(super) fn key(&self, id: SessionId) -> Option<SlotKey> {
        self.ids.get(&id).copied()
    }

    pub(super) fn by_id(&mut self, id: SessionId) -> Option<&mut Session> {
        self.get(self.key(id)?)
    }

    /// Forgets whose leader this is, because the pid may be reused.
    pub(super) fn forget_leader(&mut self, pid: Pid) {
        self.leaders.remove(&pid);
    }

    /// The session whose leader this is.
    pub(super) fn led_by(&self, pid: Pid) -> Option<SlotKey> {
        self.leaders.get(&pid).copied()
    }

    /// The first session after `id`.
    pub(super) fn after(&self, id: Option<SessionId>) -> Option<(SessionId, SlotKey)> {
        let from = id.map_or(Bound::Unbounded, Bound::Excluded);
        self.ids.range((from, Bound::Unbounded)).next().map(|(id, key)| (*id, *key))
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// The keys of all sessions.
    pub(super) fn keys(&self) -> Vec<SlotKey> {
        self.ids.values().copied().collect()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Session> {
        self.slots.iter_mut().filter_map(|slot| slot.session.as_deref_mut())
    }
}
