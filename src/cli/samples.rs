//! Sessions for tests.

use crate::protocol::Session;
use chrono::Utc;

pub(crate) fn session(id: &str, name: Option<&str>) -> Session {
    Session {
        name: name.map(str::to_owned),
        command: vec!["bash".into()],
        pid: Some(1),
        idle_timeout_s: Some(1800),
        ..Session::begun(id.parse().unwrap(), Utc::now())
    }
}
