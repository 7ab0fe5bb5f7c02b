//! Tests with real processes. One binary: each more would link everything once more.

mod holder;
