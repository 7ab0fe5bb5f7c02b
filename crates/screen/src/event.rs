//! The events in a stream, besides drawing.

/// The longest command of a shell that is kept, in bytes.
pub const COMMAND_MAX: usize = 256;

/// Something that the program has sent to the terminal besides text and drawing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The answer to a query, to be given to the program as input.
    Reply(Vec<u8>),
    /// The title was set (OSC 0, 2) or restored; `None` if it is empty.
    Title(Option<String>),
    /// BEL.
    Bell,
    /// OSC 9, 99 or 777.
    Notification {
        /// The title, if the sequence has one.
        title: Option<String>,
        /// The message.
        body: String,
    },
    /// A shell is about to show its prompt (OSC 133 A).
    Prompt,
    /// A command's output begins (OSC 133 C).
    CommandStart {
        /// The command as it was typed, if the shell has sent it (`cmdline_url=`): its first 256
        /// bytes.
        command: Option<String>,
    },
    /// A command has ended (OSC 133 D).
    CommandEnd {
        /// The command's exit code, if the shell has sent it.
        exit: Option<i32>,
    },
    /// The shell's directory (OSC 7), decoded.
    Cwd(String),
}
