//! What `stayd doctor` finds out about a fleet: as this machine's user it looks at NATS, its version, the
//! directory's buckets and the clock, and tries each permission. Nothing that stands is changed.

use super::bucket::{self, ANSWER, NODES, PutError, line};
use super::connect::{ConnectError, options, with_address};
use super::health::{
    Checked, Health, ahead, bad, doubtful, good, of_clock, of_server, shown, unconnected,
};
use super::needs::{Asks, Need, needs};
use super::record::NodeRecord;
use super::start::known_instance;
use crate::config::FleetSettings;
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::{self, ErrorCode, context::Context};
use async_nats::{Client, Event, HeaderMap};
use chrono::Utc;
use futures_util::StreamExt;
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// How long a server may take that is connected to.
const CONNECT: Duration = Duration::from_secs(6);
/// Between two looks at this machine's own line, which its server puts every few seconds.
const LOOK: Duration = Duration::from_millis(50);

/// Looks at all of it, as the machine with this state directory. Takes some seconds at most for each server.
pub async fn check(settings: &FleetSettings, state_dir: &Path) -> Vec<Checked> {
    let mut found = Vec::new();
    let mut member = None;
    for url in &settings.url {
        match Member::connect(settings, url).await {
            Ok(connected) => {
                found.push(of_server(url, &connected.client.server_info()));
                member.get_or_insert(connected);
            }
            Err(why) => found.push(bad("fleet NATS", why)),
        }
    }
    let Some(mut member) = member else { return found };
    // One of several is enough.
    for unreachable in found.iter_mut().filter(|it| it.health == Health::Bad) {
        unreachable.health = Health::Doubtful;
    }
    let is_edge = settings.serve_page;
    let (refused, buckets) = match member.refused(&needs(&settings.name, is_edge)).await {
        Ok(refused) => {
            let may_look = !refused.iter().any(|need| need.tried.contains(".STREAM.INFO."));
            let looks = is_edge && may_look;
            let buckets = if looks { buckets(&member.context()).await } else { Vec::new() };
            (refused, buckets)
        }
        Err(why) => {
            found.push(bad("fleet rights", why));
            return found;
        }
    };
    found.extend(rights(&refused, &buckets, is_edge));
    let is_made = buckets.iter().all(|bucket| bucket.is_there);
    found.extend(buckets.into_iter().map(|bucket| bucket.checked));
    let line = line(NODES, settings.name.as_str());
    if is_made && !refused.iter().any(|need| need.tried.ends_with(&line)) {
        found.extend(member.own_line(settings, state_dir).await);
    }
    found
}

/// A bucket that was looked for.
struct Bucket {
    name: &'static str,
    is_there: bool,
    checked: Checked,
}

/// The permissions that are missing, a line each.
fn rights(refused: &[Need], buckets: &[Bucket], is_edge: bool) -> Vec<Checked> {
    let what = "fleet rights";
    // An operator may make the directory beforehand, and take these rights away from edges.
    let is_there = |need: &Need| {
        buckets.iter().any(|bucket| bucket.is_there && need.makes() == Some(bucket.name))
    };
    let missing: Vec<Checked> = refused
        .iter()
        .filter(|need| !is_there(need))
        .map(|need| bad(what, need.advice(is_edge)))
        .collect();
    if !missing.is_empty() {
        return missing;
    }
    let kind = if is_edge { "an edge" } else { "a node" };
    vec![good(what, format!("this machine's user in NATS may do what {kind} does"))]
}

/// The directory's buckets.
async fn buckets(context: &Context) -> Vec<Bucket> {
    let mut found = Vec::new();
    for name in bucket::ALL {
        let stream = timeout(ANSWER, context.get_stream(format!("KV_{name}"))).await;
        let what = "fleet directory";
        let is_there = matches!(stream, Ok(Ok(_)));
        let checked = match stream {
            Ok(Ok(stream)) => {
                let info = stream.cached_info();
                let is_cluster = context.client().server_info().cluster.is_some();
                match bucket::differences(name, &info.config, is_cluster) {
                    differences if differences.is_empty() => {
                        good(what, format!("the bucket {name} has {} lines", info.state.messages))
                    }
                    differences => doubtful(
                        what,
                        format!(
                            "the bucket {name} was not made as stayd makes it ({}): remove the stream KV_{name} \
                             (nats stream rm), and an edge makes it anew",
                            differences.join(", ")
                        ),
                    ),
                }
            }
            Ok(Err(error)) => no_bucket(what, name, &error.kind()),
            Err(_) => {
                bad(what, format!("NATS does not say in time whether there is the bucket {name}"))
            }
        };
        found.push(Bucket { name, is_there, checked });
    }
    found
}

fn no_bucket(what: &'static str, name: &str, why: &GetStreamErrorKind) -> Checked {
    match why {
        GetStreamErrorKind::JetStream(error)
            if error.error_code() == ErrorCode::STREAM_NOT_FOUND =>
        {
            let detail =
                format!("there is no bucket {name}: an edge makes it when its server starts");
            doubtful(what, detail)
        }
        GetStreamErrorKind::JetStream(error) => bad(what, format!("the bucket {name}: {error}")),
        _ => {
            let detail = format!(
                "the bucket {name} cannot be asked for ({why}): NATS needs a jetstream block, as the files of \
                 docs/fleet have it, or a leaf node's server that is in reach and has one"
            );
            bad(what, detail)
        }
    }
}

/// This machine as NATS knows it.
struct Member {
    client: Client,
    name: String,
    /// The refusals of NATS.
    refusals: UnboundedReceiver<String>,
}

impl Member {
    async fn connect(settings: &FleetSettings, url: &str) -> Result<Member, String> {
        let (tell, refusals) = unbounded_channel();
        let failed = |error: ConnectError| unconnected(url, settings, &error);
        let options = options(settings).map_err(failed)?.event_callback(move |event| {
            if let Event::ServerError(error) = event {
                let _ = tell.send(error.to_string());
            }
            std::future::ready(())
        });
        let (options, address) = with_address(options, url).map_err(failed)?;
        match timeout(CONNECT, options.connect(address)).await {
            Ok(Ok(client)) => Ok(Member { client, name: settings.name.to_string(), refusals }),
            Ok(Err(error)) => Err(failed(error.into())),
            Err(_) => Err(format!(
                "{} does not answer within {} s: see that the port is open and that nats-server answers there",
                shown(url),
                CONNECT.as_secs()
            )),
        }
    }

    fn context(&self) -> Context {
        jetstream::new(self.client.clone())
    }

    /// Tries all of these: which are refused. NATS answers in turn, so that after a last message all refusals
    /// have come.
    async fn refused(&mut self, needs: &[Need]) -> Result<Vec<Need>, String> {
        let failed = |error: &dyn std::fmt::Display| format!("NATS cannot be asked: {error}");
        let mut kept = Vec::new();
        for need in needs {
            match need.asks {
                Asks::Publish => {
                    // A put for another stream than the bucket's is refused by the bucket.
                    let mut headers = HeaderMap::new();
                    headers.insert("Nats-Expected-Stream", "none");
                    let client = &self.client;
                    let sent = match need.tried.starts_with("$KV.") {
                        true => {
                            client
                                .publish_with_headers(need.tried.clone(), headers, "".into())
                                .await
                        }
                        false => client.publish(need.tried.clone(), "".into()).await,
                    };
                    sent.map_err(|error| failed(&error))?;
                }
                Asks::Subscribe => {
                    let subscribed = self.client.subscribe(need.tried.clone()).await;
                    kept.push(subscribed.map_err(|error| failed(&error))?);
                }
            }
        }
        let last = format!("_INBOX_stayd.{}.doctor", self.name);
        let subscribed = self.client.subscribe(last.clone()).await;
        let mut arrives = subscribed.map_err(|error| failed(&error))?;
        self.client.publish(last.clone(), "".into()).await.map_err(|error| failed(&error))?;
        let last = Need { asks: Asks::Publish, grant: last.clone(), tried: last };
        let (mut refused, until) = (Vec::new(), Instant::now() + ANSWER);
        loop {
            let text = tokio::select! {
                text = timeout_at(until, self.refusals.recv()) => match text {
                    Ok(Some(text)) if !last.is_refused_by(&text) => text,
                    Ok(Some(_) | None) => return Ok(refused),
                    // An answer is missing: what was refused until now is all that is known.
                    Err(_) if refused.is_empty() => return Err("NATS does not answer in time".into()),
                    Err(_) => return Ok(refused),
                },
                _ = arrives.next() => return Ok(refused),
            };
            refused.extend(needs.iter().find(|need| need.is_refused_by(&text)).cloned());
        }
    }

    /// Whose this machine's name is, and the clock: of a line that was just put, NATS says when.
    async fn own_line(&self, settings: &FleetSettings, state_dir: &Path) -> Vec<Checked> {
        let (what, context, name) = ("fleet name", self.context(), &settings.name);
        let read = || bucket::last_of(&context, name);
        let before = match read().await {
            Ok(before) => before,
            Err(why) => {
                let detail = format!(
                    "this machine's line in the directory cannot be read ({why}): the directory is made by the first \
                     edge, and NATS needs JetStream for it"
                );
                return vec![bad(what, detail)];
            }
        };
        let version = before.as_ref().map_or(0, |line| line.sequence);
        let record = before.filter(|line| !line.payload.is_empty());
        if let Some(line) = record {
            let record = serde_json::from_slice::<NodeRecord>(&line.payload).ok();
            let is_ours = record.is_some_and(|it| known_instance(state_dir) == Some(it.instance));
            if !is_ours {
                let detail = format!(
                    "another machine of the fleet is called {name}: give this one another fleet.name, or end the other"
                );
                return vec![bad(what, detail)];
            }
            // Its server puts it again in a moment.
            let until = Instant::now() + ANSWER;
            while Instant::now() < until {
                if let Ok(Some(next)) = read().await
                    && next.sequence != version
                {
                    let clock = of_clock(ahead(next.time.unix_timestamp_nanos(), Utc::now()));
                    return vec![
                        good(what, format!("{name}, held by this machine's server")),
                        clock,
                    ];
                }
                sleep(LOOK).await;
            }
            let detail =
                format!("{name}: the line that this machine's server put is not put again");
            return vec![doubtful(what, detail)];
        }
        // Nobody has the name. Taking out what is not there says when.
        let own = line(NODES, name.as_str());
        match bucket::remove(&context, own, Some(version)).await {
            Ok(_) => match read().await {
                Ok(Some(line)) => {
                    let clock = of_clock(ahead(line.time.unix_timestamp_nanos(), Utc::now()));
                    vec![good(what, format!("{name} is free")), clock]
                }
                Ok(None) => vec![good(what, format!("{name} is free"))],
                Err(why) => vec![bad(what, why)],
            },
            // Somebody has just taken it.
            Err(PutError::Conflict) => vec![good(what, format!("{name} is being taken"))],
            Err(why) => {
                vec![bad(
                    what,
                    format!("this machine's line cannot be put in the directory: {why}"),
                )]
            }
        }
    }
}
