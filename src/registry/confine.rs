//! Prepares what a profile confines its sessions to: the account looked up, the cgroup made.

use super::create::{CreateError, Plan, START_DEADLINE, directory};
use super::environment::{account_environment, environment, server_environment};
use super::launch::Start;
use crate::cgroup::{Delegated, Settings};
use crate::config::{CPU_PERIOD_US, Limits, Login, Profile};
use crate::holder::{self, Confinement};
use crate::id::SessionId;
use crate::tree::Keepers;
use nix::unistd::Uid;
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;
use tokio::time::timeout;

/// Confines a session that is about to be created.
pub(super) async fn confine(plan: &mut Plan, keepers: Keepers) -> Result<(), CreateError> {
    let id = plan.row.session.id;
    let (confinement, login) = prepare(&plan.profile, id, keepers).await?;
    plan.spec.confinement = confinement;
    if let Some(login) = login {
        let home = login.directory();
        let cwd = plan.cwd.as_deref().unwrap_or("~");
        let cwd = directory(cwd, home).map_err(CreateError::Invalid)?;
        plan.row.session.cwd.clone_from(&cwd);
        plan.spec.cwd = cwd;
        let layers = [&plan.profile.env, &plan.row.env];
        plan.spec.env = environment(id, account_environment(server_environment(), &login), &layers);
    }
    Ok(())
}

/// Confines a session that is about to be started again. Its profile's confinement is that of the
/// present settings.
pub(super) async fn confine_again(
    start: &mut Start,
    profiles: &BTreeMap<String, Profile>,
    keepers: Keepers,
) -> Result<(), CreateError> {
    let row = &start.record.row;
    let Some(name) = &row.session.profile else { return Ok(()) };
    let Some(profile) = profiles.get(name) else {
        // It may have had a user. As root the session could do more than it was allowed.
        return if Uid::effective().is_root() {
            let why = "and with it the account that the session may run under";
            Err(CreateError::Invalid(format!("there is no profile {name:?} any more, {why}")))
        } else {
            Ok(())
        };
    };
    let id = row.session.id;
    let (confinement, login) = prepare(profile, id, keepers).await?;
    if let Some(login) = login {
        let inherited = account_environment(server_environment(), &login);
        start.spec.env = environment(id, inherited, &[&profile.env, &row.env]);
    }
    start.spec.confinement = confinement;
    Ok(())
}

/// A start has failed or its process is in its cgroup after this time.
const SETTLED: Duration = Duration::from_secs(15);

/// Removes what is left of the cgroups of ended sessions.
pub(super) fn remove_cgroups(keepers: Keepers, live: &HashSet<SessionId>) {
    if let Ok(delegated) = Delegated::find(keepers.holder, &[]) {
        delegated.remove_all_but(live, SETTLED);
    }
}

async fn prepare(
    profile: &Profile,
    id: SessionId,
    keepers: Keepers,
) -> Result<(Confinement, Option<Login>), CreateError> {
    let Profile { user, limits, .. } = profile;
    if user.is_none() && *limits == Limits::default() {
        return Ok((Confinement::default(), None));
    }
    let (name, limits) = (user.as_ref().map(|user| user.name.clone()), *limits);
    // A directory service may answer slowly, or never.
    let prepared = actix_web::rt::task::spawn_blocking(move || {
        // As it is now: it may have changed since the server read its settings.
        let login = name.map(|name| Login::find(&name)).transpose()?;
        let cgroup = cgroup(&limits, id, keepers)?;
        let account = login.as_ref().map(|login| holder::Account {
            name: login.name.clone(),
            uid: login.uid,
            gid: login.gid,
            tty: login.tty,
        });
        let Limits { nofile, nproc, address_space, core, .. } = limits;
        let limits = holder::Limits { nofile, nproc, address_space, core };
        Ok::<_, String>((Confinement { account, limits, cgroup }, login))
    });
    match timeout(START_DEADLINE, prepared).await {
        Ok(Ok(prepared)) => prepared.map_err(CreateError::Invalid),
        Ok(Err(error)) => Err(CreateError::Invalid(error.to_string())),
        Err(_) => {
            let limit = START_DEADLINE.as_secs();
            let why = format!("the account of its profile could not be looked up in {limit} s");
            Err(CreateError::Invalid(why))
        }
    }
}

/// The cgroup of a session, if its limits need one.
fn cgroup(
    limits: &Limits,
    id: SessionId,
    keepers: Keepers,
) -> Result<Option<std::path::PathBuf>, String> {
    let controllers = limits.controllers();
    if controllers.is_empty() {
        return Ok(None);
    }
    let mut ours = vec![std::process::id() as i32, keepers.holder];
    ours.extend(keepers.guardian);
    let made = Delegated::find(keepers.holder, &controllers)
        .and_then(|delegated| delegated.create(id, &controllers, &settings(limits), &ours));
    made.map(Some).map_err(|why| {
        let limits: Vec<String> = controllers.iter().map(|name| format!("{name}_max")).collect();
        format!("the limits {} of its profile cannot be set: {why}", limits.join(", "))
    })
}

fn settings(limits: &Limits) -> Settings {
    let number = |limit: u64| limit.to_string();
    let cpu = |share: u64| format!("{share} {CPU_PERIOD_US}");
    let all = [
        ("memory.max", limits.memory_max.map(number)),
        ("pids.max", limits.pids_max.map(number)),
        ("cpu.max", limits.cpu_max.map(cpu)),
    ];
    all.into_iter().filter_map(|(file, limit)| Some((file, limit?))).collect()
}
