//! Whether the files with which this machine logs in to NATS are closed to other users.

use super::health::{Checked, doubtful};
use crate::config::FleetSettings;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A warning for each file that others may use: that of the settings, if it has a password, and that of credentials.
pub(super) fn secrets(settings: &FleetSettings, file: Option<&Path>) -> Vec<Checked> {
    let has_password = settings.url.iter().any(|url| {
        let (before, _) = url.rsplit_once('@').unwrap_or_default();
        before.split_once("://").is_some_and(|(_, login)| login.contains(':'))
    });
    let file = file.filter(|_| has_password).map(|path| (path, "has the password of fleet.url"));
    let credentials =
        settings.credentials.as_deref().map(|path| (path, "is what fleet.credentials names"));
    let found = file.into_iter().chain(credentials).filter_map(|(path, why)| {
        // That it cannot be looked at is said where it is used.
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
