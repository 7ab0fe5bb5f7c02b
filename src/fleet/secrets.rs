//! Checks that the files with which this machine logs in to NATS are closed to other users.

use super::health::{Checked, doubtful};
use crate::config::FleetSettings;
use async_nats::ServerAddr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A warning for each file that others may use: that of the settings, if it has a password, and that of credentials.
pub(super) fn secrets(settings: &FleetSettings, file: Option<&Path>) -> Vec<Checked> {
    let parsed = settings.url.iter().filter_map(|url| url.parse::<ServerAddr>().ok());
    let has_password = parsed.into_iter().any(|address| address.password().is_some());
    let file = file.filter(|_| has_password).map(|path| (path, "has the password of fleet.url"));
    let credentials =
        settings.credentials.as_deref().map(|path| (path, "is what fleet.credentials names"));
    let found = file.into_iter().chain(credentials).filter_map(|(path, why)| {
        // A file that cannot be read is reported by whatever uses it.
        let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
        let detail = format!(
            "{} {why}, and other users of this machine may use it (mode {mode:o}): close it with chmod go-rwx, and \
             make a new secret if you do not trust them",
            path.display()
        );
        (mode & 0o077 != 0).then(|| doubtful("fleet secrets", detail))
    });
    found.collect()
}
