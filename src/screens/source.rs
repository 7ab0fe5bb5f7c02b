//! The output of one session, as its screen reads it.

use crate::ring::{Overtaken, Reader};
use bytes::BytesMut;
use std::ops::Deref;
use std::sync::Arc;

/// After so many bytes their pages are unmapped: a flood would otherwise map the whole ring here,
/// which the holder maps already. A smaller number would cost time, as each page is mapped again.
const MAPPED_MAX: usize = 128 << 10;

/// Reads a ring, of which little stays mapped.
#[derive(Debug)]
pub(super) struct OutputSource {
    ring: Arc<Reader>,
    /// Bytes read since the pages were unmapped.
    mapped: usize,
}

impl OutputSource {
    pub(super) fn new(ring: Arc<Reader>) -> Self {
        OutputSource { ring, mapped: 0 }
    }

    /// As [`Reader::read`].
    pub(super) fn read(
        &mut self,
        offset: u64,
        max: usize,
        out: &mut BytesMut,
    ) -> Result<usize, Overtaken> {
        let before = out.len();
        let mut total = 0;
        while total < max {
            let part = MAPPED_MAX.min(max - total);
            match self.ring.read(offset + total as u64, part, out) {
                Ok(0) => break,
                Ok(read) => {
                    total += read;
                    self.mapped += read;
                }
                Err(overtaken) => {
                    out.truncate(before);
                    return Err(overtaken);
                }
            }
            if self.mapped >= MAPPED_MAX {
                self.let_go();
            }
        }
        Ok(total)
    }

    /// As [`Reader::let_go`].
    pub(super) fn let_go(&mut self) {
        self.mapped = 0;
        self.ring.let_go();
    }
}

impl Deref for OutputSource {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        &self.ring
    }
}
