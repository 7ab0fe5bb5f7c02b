//! Sessions that come and go, and what has been asked of each.

use super::audit::Database;
use super::chance::Chance;
use crate::support::{Api, Terminal, dial};
use awc::http::Method;
use futures_util::StreamExt;
use serde_json::{Value, json};

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Runs until it is killed.
    Lasting,
    /// The same, and ends at SIGTERM only.
    Stubborn,
    /// Nobody comes, so it is destroyed after a second.
    Unattended,
    /// Is destroyed a second after its client has left.
    Left,
    /// Cannot be started.
    Missing,
    /// Exits with 3.
    Brief,
}

impl Kind {
    fn request(self, name: &str) -> Value {
        let shell = |script: &str| json!(["sh", "-c", script]);
        let lasting = "sleep 1001 & exec sleep 1000";
        let never = Value::Null;
        let (command, idle, first) = match self {
            Kind::Lasting => (shell(lasting), never, None),
            Kind::Stubborn => (shell("trap '' HUP; sleep 1001 & wait"), never, None),
            Kind::Unattended => (shell(lasting), never, Some(1)),
            Kind::Left => (shell(lasting), json!(1), None),
            Kind::Missing => (json!(["/nowhere/program"]), never, None),
            Kind::Brief => (shell("exit 3"), never, None),
        };
        json!({ "name": name, "command": command, "idle_timeout_s": idle,
            "first_attach_timeout_s": first })
    }

    /// Whether it is destroyed by a timer.
    pub(super) fn is_timed(self) -> bool {
        matches!(self, Kind::Unattended | Kind::Left)
    }
}

/// One session that was asked for.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Its id, once the server has answered.
    pub(super) id: Option<String>,
    /// `DELETE` was sent.
    pub(super) to_end: bool,
    /// … and the answer was that it has ended.
    pub(super) ended: bool,
}

#[derive(Default)]
pub(super) struct Book {
    pub(super) entries: Vec<Entry>,
    count: usize,
}

/// What came of something that was asked for.
pub(super) enum Outcome {
    Created {
        name: String,
        id: String,
    },
    Ended {
        name: String,
    },
    /// No answer, or none that says anything.
    Unknown,
}

impl Book {
    /// Enters a session and asks for it.
    pub(super) fn create(
        &mut self,
        api: &Api,
        kind: Kind,
    ) -> impl Future<Output = Outcome> + 'static {
        self.count += 1;
        let name = format!("churn-{}", self.count);
        let body = kind.request(&name).to_string();
        self.entries.push(Entry {
            name: name.clone(),
            kind,
            id: None,
            to_end: false,
            ended: false,
        });
        let api = api.clone();
        async move {
            let Ok(reply) = api.try_send(Method::POST, "/api/v1/sessions", body).await else {
                return Outcome::Unknown;
            };
            match (reply.status.as_u16(), kind) {
                (201, _) => {
                    let id = reply.json()["id"].as_str().expect("an id").to_owned();
                    Outcome::Created { name, id }
                }
                (422, Kind::Missing) => Outcome::Unknown,
                _ => panic!("{name}: {}", String::from_utf8_lossy(&reply.bytes)),
            }
        }
    }

    /// Ends a session of which it is known that it exists.
    pub(super) fn delete(
        &mut self,
        api: &Api,
        name: &str,
    ) -> impl Future<Output = Outcome> + 'static {
        let entry = self.entry(name);
        entry.to_end = true;
        let path = format!("/api/v1/sessions/{}", entry.id.as_deref().expect("an id"));
        let (api, name) = (api.clone(), name.to_owned());
        async move {
            match api.try_send(Method::DELETE, &path, "").await {
                Ok(reply) if reply.status.as_u16() == 200 => {
                    let record = reply.json();
                    assert_eq!(record["status"], "TERMINATED", "{record}");
                    Outcome::Ended { name }
                }
                Ok(reply) => {
                    assert_eq!(reply.status.as_u16(), 202, "{name}");
                    Outcome::Unknown
                }
                Err(_) => Outcome::Unknown,
            }
        }
    }

    pub(super) fn note(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Created { name, id } => self.entry(&name).id = Some(id),
            Outcome::Ended { name } => self.entry(&name).ended = true,
            Outcome::Unknown => {}
        }
    }

    /// Learns of sessions whose creation was never answered.
    pub(super) fn learn(&mut self, found: &Database) {
        for entry in self.entries.iter_mut().filter(|entry| entry.id.is_none()) {
            entry.id = found.live_id(&entry.name);
        }
    }

    fn entry(&mut self, name: &str) -> &mut Entry {
        self.entries.iter_mut().find(|entry| entry.name == name).expect("entered")
    }

    /// A session of this kind that lives as far as anybody knows.
    pub(super) fn living(&self, kind: Kind, chance: &mut Chance) -> Option<(String, String)> {
        let living = Vec::from_iter(self.all_living(kind));
        let chosen = living.get(chance.below(living.len().max(1) as u64) as usize)?;
        Some((chosen.name.clone(), chosen.id.clone()?))
    }

    pub(super) fn count_living(&self, kind: Kind) -> usize {
        self.all_living(kind).count()
    }

    fn all_living(&self, kind: Kind) -> impl Iterator<Item = &Entry> {
        let lives = move |entry: &&Entry| entry.kind == kind && !entry.to_end && entry.id.is_some();
        self.entries.iter().filter(lives)
    }
}

/// Attaches; with `leave` says goodbye at once, else stays until the server has gone.
pub(super) async fn attach(api: Api, id: String, leave: bool) -> Outcome {
    let path = format!("/api/v1/sessions/{id}/attach?cols=90&rows=30");
    let Ok(mut socket) = dial(&api, &path, Some("stayd.v1")).await else {
        return Outcome::Unknown;
    };
    while let Some(Ok(_)) = socket.next().await {
        if leave {
            return Outcome::Unknown;
        }
    }
    Outcome::Unknown
}

/// Attaches and leaves as a client should, so that the session is known to be idle.
pub(super) async fn visit(api: &Api, id: &str) {
    let path = format!("/api/v1/sessions/{id}/attach");
    Terminal::open(api, &path, Some("stayd.v1")).await.leave().await;
}

pub(super) async fn resize(api: Api, id: String, cols: u16) -> Outcome {
    let body = json!({ "cols": cols, "rows": 25 }).to_string();
    let reply = api.try_send(Method::POST, &format!("/api/v1/sessions/{id}/resize"), body).await;
    if let Ok(reply) = reply {
        assert!(reply.status.is_success(), "{}", String::from_utf8_lossy(&reply.bytes));
    }
    Outcome::Unknown
}
