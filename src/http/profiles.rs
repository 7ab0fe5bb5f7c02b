//! `GET /api/v1/profiles`: the commands that clients may start by name.

use super::api::Api;
use crate::config::{Control, Limits, Profile};
use crate::protocol::{IdleWhen, Recording, RestartPolicy, SizePolicy};
use crate::registry::{directory, home};
use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::Serialize;
use serde_json::json;

/// The values that a profile gives to its sessions. The environment is left out: it may hold
/// secrets.
#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    command: &'a [String],
    login: bool,
    cwd: String,
    idle_timeout_s: Option<u64>,
    idle_when: IdleWhen,
    size_policy: SizePolicy,
    restart: RestartPolicy,
    recording: Recording,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    control: Option<Control>,
    limits: &'a Limits,
}

pub(super) async fn profiles(api: Data<Api>) -> HttpResponse {
    // The map is sorted by name.
    let home_of =
        |profile: &Profile| profile.user.as_ref().map_or_else(home, |user| user.home.clone());
    let shown = api.defaults.profiles.iter().map(|(name, profile)| Shown {
        name,
        command: &profile.command,
        login: profile.login,
        cwd: match &profile.cwd {
            // A command that cannot be used is shown as written; starting it says why.
            Some(cwd) => directory(cwd, home_of(profile)).unwrap_or_else(|_| cwd.clone()),
            None => home_of(profile),
        },
        idle_timeout_s: profile.idle_timeout_s.unwrap_or(api.defaults.idle_timeout_s),
        idle_when: profile.idle_when.unwrap_or(api.defaults.idle_when),
        size_policy: profile.size_policy.unwrap_or_default(),
        restart: profile.restart.unwrap_or_default(),
        recording: profile.recording.unwrap_or_default(),
        user: profile.user.as_ref().map(|user| user.name.as_str()),
        control: profile.control,
        limits: &profile.limits,
    });
    HttpResponse::Ok().json(json!({
        "profiles": shown.collect::<Vec<_>>(),
        "idle_timeout_s": api.defaults.idle_timeout_s,
        "idle_when": api.defaults.idle_when,
    }))
}
