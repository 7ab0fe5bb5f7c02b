//! The types that are exchanged with clients: the session's JSON, the control messages of
//! `stayd.v1` and the messages of `json.v1`. One enum a direction; no I/O.

mod attention;
mod limits;
mod messages;
mod names;
mod policies;
mod session;
mod signs;
mod time;

pub use crate::lifecycle::{IdleWhen, RestartPolicy};
pub use attention::{
    Attention, AttentionSource, AttentionState, MESSAGE_MAX, attention_states, message_line,
};
pub use limits::{
    COMMAND_MAX, CWD_MAX, LABEL_MAX, LABELS_MAX, check_label, check_labels, command_bytes,
};
pub use messages::{ClientMessage, JsonClientMessage, JsonServerMessage, ServerMessage};
pub use names::{NAME_MAX, check_name, is_unseen};
pub use policies::{Mode, Recording, SizePolicy};
pub use session::{
    Cause, CloseCode, CreateSession, Session, TIMEOUT_MAX_S, Transition, Viewer, check_size,
    check_timeout,
};
pub use signs::{Notification, Shell, ShellState, Signs};
pub use time::{rfc3339, span};

/// Input bytes that a `stayd.v1` client may send beyond the last accepted one.
pub const INPUT_WINDOW: u64 = 64 << 10;
/// Output bytes that are sent to an acknowledging client beyond its last acknowledgement.
pub const ACK_WINDOW: u64 = 1 << 20;
/// The longest snapshot, in bytes. The oldest scrollback is left out first, then colours and text
/// of the lines farthest from the cursor.
pub const SNAPSHOT_MAX: usize = 512 << 10;
/// The largest terminal, in columns or rows.
pub const SIZE_MAX: u16 = 1000;
/// The longest `client` name, in characters.
pub const CLIENT_MAX: usize = 64;
