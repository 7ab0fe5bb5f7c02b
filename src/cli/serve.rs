//! `stayd serve`.

use super::failure::Failure;
use crate::config::{PathFlags, ServeFlags, Settings};

pub(super) fn serve(paths: &PathFlags, flags: &ServeFlags) -> Result<u8, Failure> {
    let settings = Settings::load(paths, flags)?;
    crate::server::run(settings).map_err(|e| Failure::Other(e.to_string()))?;
    Ok(0)
}
