//! What happens in a stream besides drawing.

/// Something that the program said to the terminal, in the order of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The answer to a query, to be given to the program as input.
    Reply(Vec<u8>),
    /// The title has been set (OSC 0, 2) or brought back; `None` when it is empty.
    Title(Option<String>),
    /// BEL.
    Bell,
    /// OSC 9, 99 or 777.
    Notification {
        /// Where the sequence has one.
        title: Option<String>,
        /// The message.
        body: String,
    },
    /// A shell is about to show its prompt (OSC 133 A).
    Prompt,
    /// A command's output begins (OSC 133 C).
    CommandStart,
    /// A command has ended (OSC 133 D).
    CommandEnd {
        /// Its exit code, if the shell told it.
        exit: Option<i32>,
    },
    /// The shell's directory (OSC 7), decoded.
    Cwd(String),
}
