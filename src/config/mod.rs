//! Settings: flags over environment (`STAYD_*`) over `stayd.toml` over defaults.
//!
//! | room | what is in it |
//! |---|---|
//! | `account` | the user's shell and home directory: [`Account`] |
//! | [`flags`] | flags and environment, with their help |
//! | `file` | `stayd.toml` |
//! | `fleet` | the fleet that the server belongs to: [`FleetSettings`] |
//! | `hooks` | what is run or called when a session needs somebody or ends: [`Hook`] |
//! | `limits` | limits of a profile's sessions: [`Limits`] |
//! | `login` | an account that a profile's sessions run under: [`Login`] |
//! | `reference` | a complete `stayd.toml`, made from the flags |
//! | `paths` | the default paths of the state directory and the file |
//! | `profiles` | commands that clients may start by name: [`Profile`] |
//! | `push` | the push services that browsers may name: [`PushServices`] |
//! | `resume` | how a profile's program resumes its work: [`Resume`] |
//! | `settings` | the result: [`Settings`] |
//! | `words` | the values: levels, formats, timeouts |

mod account;
mod file;
pub mod flags;
mod fleet;
#[cfg(test)]
#[path = "../../tests/fuzz/config.rs"]
mod fuzz;
mod hooks;
mod limits;
mod login;
mod paths;
mod profiles;
mod push;
mod reference;
mod resume;
mod settings;
mod words;

pub use account::{Account, account};
pub use file::ConfigError;
pub use flags::{PathFlags, ServeFlags};
pub use fleet::{FLEET_LABEL_MAX, FLEET_LABELS_MAX, FleetRights, FleetSettings, without_login};
pub use hooks::{Hook, HookTarget, HookWord};
pub use limits::{CPU_PERIOD_US, Limits};
pub use login::Login;
pub use profiles::Profile;
pub use push::PushServices;
pub use reference::reference;
pub use resume::Resume;
pub use settings::{DEFAULT_LISTEN, Settings, TlsFiles, settings_file, state_dir};
pub use words::{BasePath, Control, IdleTimeout, LogFormat, LogLevel, Seconds, idle_when};
