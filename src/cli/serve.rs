//! `stayd serve`.

use super::failure::Failure;
use crate::config::{Place, ServeFlags, Settings};

pub(super) fn serve(place: &Place, flags: &ServeFlags) -> Result<u8, Failure> {
    let settings = Settings::load(place, flags)?;
    crate::server::run(settings).map_err(|e| Failure::Other(e.to_string()))?;
    Ok(0)
}
