//! `stayd profiles`: the commands that may be started by name.

use super::client::{Client, read};
use super::endpoint::ServerFlags;
use super::failure::Failure;
use super::grid::{self, printable};
use super::out;
use crate::config::PathFlags;
use clap::Args;
use serde::Deserialize;

#[derive(Args, Debug)]
pub(super) struct Flags {
    /// Print the API's response
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerFlags,
}

/// The fields that the table shows.
#[derive(Deserialize)]
struct Profile {
    name: String,
    command: Vec<String>,
    cwd: Option<String>,
    /// Missing means the server's default, null means never.
    #[serde(default, deserialize_with = "present")]
    idle_timeout_s: Option<Option<u64>>,
    restart: Option<String>,
    recording: Option<String>,
}

fn present<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(value).map(Some)
}

pub(super) fn profiles(paths: &PathFlags, flags: &Flags) -> Result<u8, Failure> {
    let client = Client::find(paths, &flags.server)?;
    let answer = actix::System::new().block_on(client.profiles())?;
    if flags.json {
        out::json(&answer)?;
        return Ok(0);
    }
    out::print(&table(&read::<Vec<Profile>>(&answer["profiles"])?))?;
    Ok(0)
}

fn table(profiles: &[Profile]) -> String {
    let heading = ["NAME", "IDLE", "RESTART", "RECORDING", "DIRECTORY", "COMMAND"];
    let rows = profiles.iter().map(|profile| {
        let word = |text: &Option<String>| printable(text.as_deref().unwrap_or("-"));
        let idle = match profile.idle_timeout_s {
            None => "-".to_owned(),
            Some(None) => "never".to_owned(),
            Some(Some(seconds)) => format!("{seconds} s"),
        };
        vec![
            printable(&profile.name),
            idle,
            word(&profile.restart),
            word(&profile.recording),
            word(&profile.cwd),
            printable(&profile.command.join(" ")),
        ]
    });
    grid::render(&heading, rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_server_decides_is_a_dash_and_never_is_never() {
        let answer = json!([
            { "name": "shell", "command": ["/bin/bash"], "cwd": null, "restart": "never", "recording": "off" },
            { "name": "top", "command": ["top", "-d", "5"], "cwd": "/tmp", "idle_timeout_s": null,
              "restart": "always", "recording": "all", "of_a_newer_server": 1 }
        ]);
        let profiles: Vec<Profile> = serde_json::from_value(answer).unwrap();
        assert_eq!(
            table(&profiles),
            "NAME   IDLE   RESTART  RECORDING  DIRECTORY  COMMAND\n\
             shell  -      never    off        -          /bin/bash\n\
             top    never  always   all        /tmp       top -d 5\n"
        );
    }
}
