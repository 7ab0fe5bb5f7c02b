//! The checkpoints that a holder gives to the server.

use super::checkpoint::Checkpoint;
use crate::fuzz::target;
use crate::holder::memfd;
use crate::holder::wire::{CHECKPOINT_MAX, Entry, Message};

target!(checkpoints_read, |bytes: &[u8]| {
    let Ok(message) = Message::parse(bytes) else { return };
    let Ok(entry) = message.control::<Entry>() else { return };
    let fd = memfd::sealed(c"fuzz", message.tail).expect("a memfd");
    let Ok(Some(checkpoint)) = Checkpoint::of(&entry, Some(fd)) else { return };
    assert!(entry.checkpoint_bytes <= CHECKPOINT_MAX);
    if let Ok(bytes) = checkpoint.read() {
        assert!(bytes.len() as u64 == entry.checkpoint_bytes);
        assert!(message.tail.starts_with(&bytes));
    }
});
