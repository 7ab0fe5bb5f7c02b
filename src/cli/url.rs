//! `stayd url`.

use super::client::Client;
use super::endpoint::ServerFlags;
use super::failure::Failure;
use super::out;
use crate::config::PathFlags;
use actix_web::http::Method;
use clap::Args;

#[derive(Args, Debug)]
pub(super) struct Flags {
    #[command(flatten)]
    server: ServerFlags,
}

pub(super) fn url(paths: &PathFlags, flags: &Flags) -> Result<u8, Failure> {
    let client = Client::find(paths, &flags.server)?;
    let made = client.call_at(Method::POST, "/api/v1/login/code", None);
    let answer = actix::System::new().block_on(made)?;
    out::print(&format!("{}\n", answer["url"].as_str().unwrap_or_default()))?;
    Ok(0)
}
