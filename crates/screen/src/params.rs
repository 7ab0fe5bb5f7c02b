//! The numbers of a control sequence: at most 32, each with colon-separated sub-numbers.

/// The most parameters, as in xterm.js. Further ones are ignored with their digits.
const MAX: usize = 32;

/// Parameters of one CSI or DCS sequence. An absent number is 0, an absent sub-number -1.
#[derive(Debug, Clone)]
pub struct Params {
    values: [i32; MAX],
    len: usize,
    subs: [i32; MAX],
    subs_len: usize,
    /// The range of each parameter's sub-numbers: first and end.
    ranges: [(u8, u8); MAX],
    full: bool,
    subs_full: bool,
    in_sub: bool,
}

impl Params {
    pub(super) fn new() -> Params {
        let mut params = Params {
            values: [0; MAX],
            len: 0,
            subs: [0; MAX],
            subs_len: 0,
            ranges: [(0, 0); MAX],
            full: false,
            subs_full: false,
            in_sub: false,
        };
        params.clear();
        params
    }

    /// Sets one parameter, 0, with which a sequence starts.
    pub(super) fn clear(&mut self) {
        self.len = 0;
        self.subs_len = 0;
        self.full = false;
        self.subs_full = false;
        self.next();
    }

    /// `;`
    #[inline]
    pub(super) fn next(&mut self) {
        self.in_sub = false;
        if self.len >= MAX {
            self.full = true;
            return;
        }
        self.ranges[self.len] = (self.subs_len as u8, self.subs_len as u8);
        self.values[self.len] = 0;
        self.len += 1;
    }

    /// `:`
    #[inline]
    pub(super) fn next_sub(&mut self) {
        self.in_sub = true;
        if self.full || self.subs_len >= MAX {
            self.subs_full = true;
            return;
        }
        self.subs[self.subs_len] = -1;
        self.subs_len += 1;
        self.ranges[self.len - 1].1 += 1;
    }

    /// `0` to `9`
    #[inline]
    pub(super) fn digit(&mut self, digit: u8) {
        if self.full || (self.in_sub && (self.subs_full || self.subs_len == 0)) {
            return;
        }
        let value = if self.in_sub {
            &mut self.subs[self.subs_len - 1]
        } else {
            &mut self.values[self.len - 1]
        };
        *value = if *value == -1 {
            i32::from(digit)
        } else {
            value.saturating_mul(10).saturating_add(i32::from(digit))
        };
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The number at `at`, 0 where there is none.
    #[must_use]
    pub fn get(&self, at: usize) -> i32 {
        if at < self.len { self.values[at] } else { 0 }
    }

    /// The number at `at` as a count, where 0 means 1.
    pub(super) fn count(&self, at: usize) -> usize {
        self.get(at).max(1) as usize
    }

    /// The sub-numbers of the number at `at`.
    pub(super) fn subs(&self, at: usize) -> &[i32] {
        let (start, end) = self.ranges[at];
        &self.subs[usize::from(start)..usize::from(end)]
    }

    /// The numbers in their order, without sub-numbers.
    pub fn iter(&self) -> impl Iterator<Item = i32> + '_ {
        self.values[..self.len].iter().copied()
    }
}
