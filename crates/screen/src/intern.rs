//! Values that cells refer to by number, each stored once; 0 is the default. Unused ones are swept
//! when the table has doubled, so that its size stays in proportion to the screen.

use std::collections::HashMap;
use std::hash::Hash;

/// Below this many values nothing is swept.
const SWEEP_MIN: usize = 1024;

#[derive(Debug)]
pub(super) struct Table<T> {
    values: Vec<T>,
    numbers: HashMap<T, u32>,
    sweep_at: usize,
    max: usize,
}

impl<T: Clone + Eq + Hash + Default> Table<T> {
    /// A table of at most `max` values.
    pub(super) fn new(max: usize) -> Table<T> {
        Table {
            values: vec![T::default()],
            numbers: HashMap::from([(T::default(), 0)]),
            sweep_at: SWEEP_MIN.min(max - 1),
            max,
        }
    }

    /// The number of `value`; `None` if the table is full.
    pub(super) fn number(&mut self, value: &T) -> Option<u32> {
        if let Some(number) = self.numbers.get(value) {
            return Some(*number);
        }
        if self.values.len() >= self.max {
            return None;
        }
        let number = self.values.len() as u32;
        self.values.push(value.clone());
        self.numbers.insert(value.clone(), number);
        Some(number)
    }

    pub(super) fn get(&self, number: u32) -> &T {
        self.values.get(number as usize).unwrap_or(&self.values[0])
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether the table has grown enough for a sweep to be worthwhile.
    pub(super) fn is_due(&self) -> bool {
        self.values.len() > self.sweep_at
    }

    /// Keeps the values whose numbers are `used`, each changed by `change`. Returns the new number
    /// of each old one.
    pub(super) fn sweep(&mut self, used: &[bool], change: impl Fn(T) -> T) -> Vec<u32> {
        let old = std::mem::replace(self, Table::new(self.max));
        let renumbered = old
            .values
            .into_iter()
            .zip(used)
            .map(|(value, used)| if *used { self.number(&change(value)).unwrap_or(0) } else { 0 })
            .collect();
        self.sweep_at = (self.values.len() * 2).clamp(SWEEP_MIN.min(self.max - 1), self.max - 1);
        renumbered
    }
}
