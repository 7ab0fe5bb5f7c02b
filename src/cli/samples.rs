//! Sessions for tests.

use crate::lifecycle::Status;
use crate::protocol::Session;
use chrono::Utc;
use std::collections::BTreeMap;

pub(crate) fn session(id: &str, name: Option<&str>) -> Session {
    let now = Utc::now();
    Session {
        id: id.parse().unwrap(),
        name: name.map(str::to_owned),
        profile: None,
        command: vec!["bash".into()],
        cwd: "/".into(),
        status: Status::Running,
        active_connections: 0,
        created_at: now,
        updated_at: now,
        last_activity_at: now,
        destroy_at: None,
        ended_at: None,
        end_reason: None,
        exit_code: None,
        exit_signal: None,
        pid: Some(1),
        cols: 80,
        rows: 24,
        idle_timeout_s: Some(1800),
        first_attach_timeout_s: None,
        labels: BTreeMap::new(),
        title: None,
        offset: 0,
        signs: Default::default(),
        size_policy: Default::default(),
        clients: Vec::new(),
    }
}
