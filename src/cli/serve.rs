//! `stayd serve`.

use super::failure::Failure;
use crate::config::{PathFlags, ServeFlags, Settings};
use crate::pty;

/// Marks a server that another verb has started.
pub(super) const BACKGROUND_ENV: &str = "STAYD_BACKGROUND";

pub(super) fn serve(paths: &PathFlags, flags: &ServeFlags) -> Result<u8, Failure> {
    if std::env::var_os(BACKGROUND_ENV).is_some() {
        // Locks and pipes of whoever has started the verb would last as long as the server.
        pty::close_inherited(None);
    }
    let settings = Settings::load(paths, flags)?;
    crate::server::run(settings).map_err(|e| Failure::Other(e.to_string()))?;
    Ok(0)
}
