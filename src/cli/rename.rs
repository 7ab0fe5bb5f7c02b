//! `stayd rename`.

use super::client::Client;
use super::endpoint::{Endpoint, ServerFlags};
use super::failure::Failure;
use super::resolve::resolve;
use crate::config::Place;
use clap::Args;

#[derive(Args, Debug)]
pub(super) struct Flags {
    /// Id, unique beginning of an id, or name
    session: String,
    /// The new name; none: the session has no name any more
    name: Option<String>,
    #[command(flatten)]
    server: ServerFlags,
}

pub(super) fn rename(place: &Place, flags: &Flags) -> Result<u8, Failure> {
    let client = Client::new(Endpoint::find(place, &flags.server)?);
    actix::System::new().block_on(async {
        let id = resolve(&client, &flags.session).await?;
        client.rename(&id.to_string(), flags.name.as_deref()).await?;
        Ok(0)
    })
}
