//! x
/// x
pub fn main(_: &std::path::Path) -> i32 {
    0
}
