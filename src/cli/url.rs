//! `stayd url`.

use super::endpoint::{Endpoint, ServerFlags};
use super::failure::Failure;
use super::out;
use crate::config::PathFlags;
use clap::Args;

#[derive(Args, Debug)]
pub(super) struct Flags {
    #[command(flatten)]
    server: ServerFlags,
}

pub(super) fn url(paths: &PathFlags, flags: &Flags) -> Result<u8, Failure> {
    let endpoint = Endpoint::find(paths, &flags.server)?;
    out::print(&format!("{}\n", endpoint.page()?))?;
    Ok(0)
}
