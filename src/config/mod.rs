//! Settings: flags over environment (`STAYD_*`) over `stayd.toml` over defaults.
//!
//! | room | what is in it |
//! |---|---|
//! | [`flags`] | flags and environment, with their help |
//! | `file` | `stayd.toml` |
//! | `paths` | where the state directory and the file are by default |
//! | `settings` | what comes out: [`Settings`], [`Profile`] |
//! | `words` | the values: levels, formats, timeouts |

mod file;
pub mod flags;
mod paths;
mod settings;
mod words;

pub use file::ConfigError;
pub use flags::{Place, ServeFlags};
pub use settings::{DEFAULT_LISTEN, Profile, Settings, state_dir};
pub use words::{IdleTimeout, LogFormat, LogLevel};
