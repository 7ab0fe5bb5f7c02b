//! `stayd url`.

use super::endpoint::{Endpoint, ServerFlags};
use super::failure::Failure;
use super::out;
use crate::config::Place;
use clap::Args;

#[derive(Args, Debug)]
pub(super) struct Flags {
    #[command(flatten)]
    server: ServerFlags,
}

pub(super) fn url(place: &Place, flags: &Flags) -> Result<u8, Failure> {
    let endpoint = Endpoint::find(place, &flags.server)?;
    out::print(&format!("{}\n", endpoint.page()))?;
    Ok(0)
}
