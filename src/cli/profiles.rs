//! `stayd profiles`: the commands that may be started by name.

use super::client::{Client, read};
use super::endpoint::ServerFlags;
use super::failure::Failure;
use super::grid::{self, printable};
use super::key::node;
use super::out;
use crate::config::{CPU_PERIOD_US, PathFlags};
use clap::Args;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Args, Debug)]
pub(super) struct Flags {
    /// Those of this machine of the fleet
    #[arg(long, value_name = "NODE", value_parser = node)]
    node: Option<String>,
    /// Print only the names
    #[arg(long, short, conflicts_with = "json")]
    quiet: bool,
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
    user: Option<String>,
    #[serde(default)]
    limits: BTreeMap<String, u64>,
    control: Option<String>,
}

fn present<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(value).map(Some)
}

pub(super) fn profiles(paths: &PathFlags, flags: &Flags) -> Result<u8, Failure> {
    let client = Client::find(paths, &flags.server)?;
    let answer = actix::System::new().block_on(client.profiles(flags.node.as_deref()))?;
    if flags.json {
        out::json(&answer)?;
        return Ok(0);
    }
    let profiles = read::<Vec<Profile>>(&answer["profiles"])?;
    let text = if flags.quiet {
        profiles.iter().map(|profile| printable(&profile.name) + "\n").collect()
    } else {
        table(&profiles)
    };
    out::print(&text)?;
    Ok(0)
}

/// Limits as the settings have them: `nofile=100 memory_max=64M cpu_max=50%`.
pub(super) fn limits(limits: &BTreeMap<String, u64>) -> String {
    let said = |(name, limit): (&String, &u64)| match name.as_str() {
        "cpu_max" => format!("{name}={}%", limit * 100 / CPU_PERIOD_US),
        "as" | "core" | "memory_max" => format!("{name}={}", bytes(*limit)),
        _ => format!("{name}={limit}"),
    };
    let all = limits.iter().map(said).collect::<Vec<_>>().join(" ");
    if all.is_empty() { "-".into() } else { printable(&all) }
}

/// A number of bytes in the largest unit that divides it.
fn bytes(number: u64) -> String {
    let units = [(30, "G"), (20, "M"), (10, "K")];
    let fits = |(bits, _): &&(u32, &str)| number > 0 && number.is_multiple_of(1 << bits);
    match units.iter().find(fits) {
        Some((bits, unit)) => format!("{}{unit}", number >> bits),
        None => number.to_string(),
    }
}

fn table(profiles: &[Profile]) -> String {
    let heading = [
        "NAME",
        "IDLE",
        "RESTART",
        "RECORDING",
        "USER",
        "CONTROL",
        "LIMITS",
        "DIRECTORY",
        "COMMAND",
    ];
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
            word(&profile.user),
            word(&profile.control),
            limits(&profile.limits),
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
              "restart": "always", "recording": "all", "user": "anna", "control": "viewer",
              "limits": { "nofile": 100, "memory_max": 67_108_864, "cpu_max": 50_000 }, "of_a_newer_server": 1 }
        ]);
        let profiles: Vec<Profile> = serde_json::from_value(answer).unwrap();
        assert_eq!(
            table(&profiles),
            "NAME   IDLE   RESTART  RECORDING  USER  CONTROL  LIMITS                                 DIRECTORY  COMMAND\n\
             shell  -      never    off        -     -        -                                      -          /bin/bash\n\
             top    never  always   all        anna  viewer   cpu_max=50% memory_max=64M nofile=100  /tmp       top -d 5\n"
        );
    }
}
