//! The held sessions, found by place, by id and by their leader's process id.

use super::session::Session;
use super::token::Place;
use crate::id::SessionId;
use nix::unistd::Pid;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
    ids: BTreeMap<SessionId, Place>,
    leaders: HashMap<Pid, Place>,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    session: Option<Box<Session>>,
}

impl Table {
    /// The place of the next session. It has to be taken by `insert` before the next call.
    pub(super) fn next_place(&mut self) -> Place {
        if self.free.is_empty() {
            let slot = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
            self.slots.push(Slot::default());
            self.free.push(slot);
        }
        let slot = self.free.last().copied().unwrap_or(u32::MAX);
        let generation = self.slots.get(slot as usize).map_or(0, |slot| slot.generation);
        Place::new(slot, generation)
    }

    pub(super) fn insert(&mut self, session: Box<Session>) {
        let place = self.next_place();
        self.free.pop();
        self.ids.insert(session.id, place);
        self.leaders.insert(session.leader, place);
        if let Some(slot) = self.slots.get_mut(place.slot as usize) {
            slot.session = Some(session);
        }
    }

    pub(super) fn remove(&mut self, place: Place) -> Option<Box<Session>> {
        self.get(place)?;
        let slot = self.slots.get_mut(place.slot as usize)?;
        let session = slot.session.take()?;
        // So that an event which is still on its way is not taken for a successor's.
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(place.slot);
        self.ids.remove(&session.id);
        if self.leaders.get(&session.leader) == Some(&place) {
            self.leaders.remove(&session.leader);
        }
        Some(session)
    }

    pub(super) fn get(&mut self, place: Place) -> Option<&mut Session> {
        let slot = self.slots.get_mut(place.slot as usize)?;
        let same = Place::new(place.slot, slot.generation) == place;
        slot.session.as_deref_mut().filter(|_| same)
    }

    pub(super) fn place(&self, id: SessionId) -> Option<Place> {
        self.ids.get(&id).copied()
    }

    pub(super) fn by_id(&mut self, id: SessionId) -> Option<&mut Session> {
        self.get(self.place(id)?)
    }

    /// The session whose leader this is; from now on the number is anybody's.
    pub(super) fn take_leader(&mut self, pid: Pid) -> Option<Place> {
        self.leaders.remove(&pid)
    }

    /// The first session after `id`.
    pub(super) fn after(&self, id: Option<SessionId>) -> Option<(SessionId, Place)> {
        let from = id.map_or(Bound::Unbounded, Bound::Excluded);
        self.ids.range((from, Bound::Unbounded)).next().map(|(id, place)| (*id, *place))
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Session> {
        self.slots.iter_mut().filter_map(|slot| slot.session.as_deref_mut())
    }
}
