//! The Model Context Protocol, by which agents use sessions as tools: what is said, and nothing that is
//! done. The route that does it is in `http`; `stayd mcp` passes it on between a pipe and the server.
//!
//! | room | what is in it |
//! |---|---|
//! | `message` | one message of a client: what it asks, and by which version of the protocol |
//! | `tools` | the tools, the right that each needs, and their descriptions |
//! | `arguments` | what a client gives to a tool, checked |
//! | `answer` | results, errors and their bounds |
//! | `plain` | a program's output as plain text |

mod answer;
mod arguments;
#[cfg(test)]
#[path = "../../tests/fuzz/mcp.rs"]
mod fuzz;
mod message;
mod plain;
mod tools;

pub use answer::{Refusal, SCREEN_MAX, failed, last_bytes, shortened, succeeded};
pub use arguments::{
    CommandRun, SessionCreate, SessionEnd, SessionList, SessionScreen, SessionSend, SessionWait,
    TIMEOUT_MAX_MS, TIMEOUT_MS, Wait, read,
};
pub use message::{
    Era, Headers, Incoming, MESSAGE_MAX, Rejected, answered, discovered, initialized,
};
pub use plain::plain;
pub use tools::{Tool, listed};
