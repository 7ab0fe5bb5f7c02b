//! `stayd.toml`.

use super::flags::{PathFlags, ServeFlags};
use super::settings::load;
use crate::fuzz::target;
use clap::Parser;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    paths: PathFlags,
    #[command(flatten)]
    flags: ServeFlags,
}

target!(settings, |bytes: &[u8]| {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), bytes).expect("written");
    let mut cli = Cli::parse_from(["stayd"]);
    cli.paths.config = Some(file.path().to_owned());
    let no_env = |_: &str| None;
    match load(&cli.paths, &cli.flags, &no_env) {
        Ok(settings) => {
            assert!(settings.ring_bytes.is_power_of_two());
            for profile in settings.profiles.values() {
                assert!(profile.command.first().is_some_and(|program| !program.is_empty()));
            }
        }
        // No error lacks a reason.
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
