//! Large answers that are being told, screens above all: how many at once.

use crate::screen::{Cursor, Modes, Screen, View};
use crate::screens::{Inspection, LastScreen, Screens, trim};
use crate::session::SessionHandle;
use std::ops::Deref;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// Memory of all large answers that are being told, in KiB. One of the largest size is a
/// quarter of it. One that is larger with its scrollback is told while no other is.
const TOTAL_KIB: u32 = 64 << 10;
/// Smaller ones are not counted, in KiB: connections are limited, and one takes more.
const SMALL_KIB: u32 = 512;

/// A terminal's screen and state, taken at one moment.
#[derive(Debug)]
pub struct Shot {
    /// Columns and lines.
    pub size: (u16, u16),
    /// Where the cursor is.
    pub cursor: Cursor,
    /// The title, empty when there is none.
    pub title: String,
    /// Whether the alternate screen is shown.
    pub alternate: bool,
    /// The modes that are set.
    pub modes: Modes,
    /// The lines.
    pub view: View,
    /// Its room among the large ones, until it is dropped.
    room: Option<OwnedSemaphorePermit>,
}

impl Drop for Shot {
    fn drop(&mut self) {
        if let Some(room) = self.room.take() {
            give_back(std::mem::take(&mut self.view), room);
        }
    }
}

/// Another large answer, with its room among the screens until it is dropped.
#[derive(Debug)]
pub struct Large {
    text: Vec<u8>,
    room: Option<OwnedSemaphorePermit>,
}

impl Deref for Large {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.text
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        if let Some(room) = self.room.take() {
            give_back(std::mem::take(&mut self.text), room);
        }
    }
}

/// The C library would keep the memory; to have it give it back takes milliseconds, which no
/// thread that serves others has to spare. Where there is no other, the next screen that is
/// folded does it.
fn give_back(memory: impl Send + 'static, room: OwnedSemaphorePermit) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn_blocking(move || {
            drop(memory);
            trim();
            drop(room);
        });
    }
}

/// Why there is no shot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoShot {
    /// The screen is broken, and there is none to be seen.
    #[error("the screen has failed")]
    Broken,
    /// There was no room for a large one in time.
    #[error("too many large screens are being told at once")]
    Busy,
}

/// Takes shots. Clones share the room for large ones.
#[derive(Clone, Debug)]
pub struct Shots {
    answers: Arc<Semaphore>,
    /// For the screens of waits that count only what is new.
    waits: Arc<Semaphore>,
}

impl Default for Shots {
    fn default() -> Self {
        let room = || Arc::new(Semaphore::new(TOTAL_KIB as usize));
        Shots { answers: room(), waits: room() }
    }
}

impl Shots {
    /// Takes a session's screen as of now, with at most `scrollback` lines above it. A large
    /// one waits for room until `deadline`.
    ///
    /// # Errors
    /// There is no screen, or no room.
    pub async fn take(
        &self,
        handle: &SessionHandle,
        scrollback: usize,
        deadline: Instant,
    ) -> Result<Inspection<Shot>, NoShot> {
        let mut room = None;
        loop {
            let (shots, held) = (self.clone(), room.take());
            let take = move |screen: &Screen| shots.shot(screen, scrollback, held);
            let look = handle.screen().inspect(take).await.ok_or(NoShot::Broken)?;
            let Inspection { offset, resizes, seen } = look;
            match seen {
                Ok(seen) => return Ok(Inspection { offset, resizes, seen }),
                Err(kib) => room = Some(self.room(kib, deadline).await?),
            }
        }
    }

    /// The same of a session that has ended.
    ///
    /// # Errors
    /// The last screen cannot be read, or there is no room.
    pub async fn take_last(
        &self,
        screens: &Screens,
        last: LastScreen,
        scrollback: usize,
        deadline: Instant,
    ) -> Result<Inspection<Shot>, NoShot> {
        let offset = last.offset;
        let mut room = None;
        loop {
            let (shots, held) = (self.clone(), room.take());
            let take = move |screen: &Screen| shots.shot(screen, scrollback, held);
            match screens.inspect_last(last.clone(), take).await.ok_or(NoShot::Broken)? {
                Ok(seen) => return Ok(Inspection { offset, resizes: 0, seen }),
                Err(kib) => room = Some(self.room(kib, deadline).await?),
            }
        }
    }

    /// A shot, or how much room it needs, in KiB: then it is thrown away.
    fn shot(
        &self,
        screen: &Screen,
        scrollback: usize,
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<Shot, u32> {
        let view = screen.view(scrollback);
        let kib = u32::try_from(view.memory() >> 10).unwrap_or(TOTAL_KIB).min(TOTAL_KIB);
        let room = if kib <= SMALL_KIB { None } else { Some(self.enough(kib, room)?) };
        Ok(Shot {
            size: screen.size(),
            cursor: screen.cursor(),
            title: screen.title().to_owned(),
            alternate: screen.is_alternate(),
            modes: screen.modes().clone(),
            view,
            room,
        })
    }

    /// Has an answer that is no screen share the room; or says how much it needs, in KiB: then
    /// it is thrown away. `room` is what it has waited for.
    ///
    /// # Errors
    /// There is not so much room now.
    pub fn hold(
        &self,
        mut text: Vec<u8>,
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<Large, u32> {
        text.shrink_to_fit();
        let kib = u32::try_from(text.len() >> 10).unwrap_or(TOTAL_KIB).min(TOTAL_KIB);
        let room = Some(self.enough(kib, room)?);
        Ok(Large { text, room })
    }

    /// The room that was waited for, if it is enough, or as much as is needed now.
    fn enough(
        &self,
        kib: u32,
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<OwnedSemaphorePermit, u32> {
        if let Some(room) = room.filter(|room| room.num_permits() >= kib as usize) {
            return Ok(room);
        }
        // The answer has grown meanwhile, or has no room yet.
        self.answers.clone().try_acquire_many_owned(kib).map_err(|_| kib)
    }

    /// Waits for so much room, in KiB, until `deadline`.
    ///
    /// # Errors
    /// There was none in time.
    pub async fn room(&self, kib: u32, deadline: Instant) -> Result<OwnedSemaphorePermit, NoShot> {
        let room = timeout_at(deadline, self.answers.clone().acquire_many_owned(kib)).await;
        room.ok().and_then(Result::ok).ok_or(NoShot::Busy)
    }
}

impl Shots {
    /// Room for a screen of so many bytes that a wait keeps while it lasts.
    ///
    /// # Errors
    /// There is none.
    pub fn room_for_wait(&self, bytes: usize) -> Result<OwnedSemaphorePermit, NoShot> {
        let kib = u32::try_from((bytes >> 10) + 1).unwrap_or(u32::MAX);
        self.waits.clone().try_acquire_many_owned(kib).map_err(|_| NoShot::Busy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::Options;

    #[test]
    fn large_screens_share_their_room_and_small_ones_need_none() {
        let shots = Shots::default();
        let full = |cols: u16, rows: u16| {
            let mut screen = Screen::new(cols, rows, Options::default());
            let count = usize::from(cols) * usize::from(rows);
            screen.feed(&b"x".repeat(count), &mut Vec::new());
            screen
        };
        let (large, small) = (full(1000, 1000), full(80, 24));
        let taken: Vec<_> = (0..5).map(|_| shots.shot(&large, 0, None)).collect();
        let have: Vec<bool> = taken.iter().map(Result::is_ok).collect();
        assert_eq!(have, [true, true, true, true, false]);
        let Err(needed) = taken[4] else { panic!() };
        assert!(shots.shot(&small, 0, None).is_ok());
        drop(taken);
        let room = shots.answers.clone().try_acquire_many_owned(needed).ok();
        assert!(room.is_some(), "what is dropped makes room");
        assert!(shots.shot(&large, 0, room).is_ok(), "with what it has waited for");
    }
}
