//! What a session's program is doing, and whether it needs somebody: decided from what is known of it.
//! Pure: events and times in, a state out.
//!
//! ```text
//!  stayd report ─────────────► report ─┐
//!  OSC 133, 9, 99, 777 ──────► signs ──┼─ one of them counts ──► Attention
//!  the screen's last lines ──► rules ──┘
//! ```
//!
//! - [`Judge`]: keeps what each of the three says, and decides.
//! - [`Agents`]: the programs whose screens are understood, and the rules by which.
//! - [`is_answer`]: whether somebody has typed something, or moved about.

mod agents;
mod input;
mod judge;

pub use agents::{Agent, AgentTable, Agents, EXAMPLE, Says};
pub use input::is_answer;
pub use judge::{Judge, Kept, Looked, Older, Report};
