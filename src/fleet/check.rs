//! What `stayd doctor` finds out about a fleet: as this machine's user it looks at NATS, its version, the
//! directory's buckets and the clock, and tries each permission. Nothing that stands is changed.

use super::bucket::{self, ANSWER, NODES, PutError, ReadError, line};
use super::connect::{ConnectError, options, with_address};
use super::health::{
    Checked, Health, ahead, bad, doubtful, good, of_clock, of_server, unconnected,
};
use super::lacking::rights;
use super::needs::{Asks, Need, is_refused, needs};
use super::record::NodeRecord;
use super::secrets::secrets;
use super::start::known_instance;
use crate::config::{FleetSettings, without_login};
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::{self, ErrorCode, context::Context};
use async_nats::{Client, Event, HeaderMap};
use chrono::Utc;
use futures_util::stream::{StreamExt, select_all};
use std::future::ready;
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// How long a server may take that is connected to.
const CONNECT: Duration = Duration::from_secs(6);
/// Between two looks at this machine's own line, which its server puts every few seconds.
const LOOK: Duration = Duration::from_millis(50);
/// The client reports refusals and messages on different channels: a refusal that came before a message may be
/// reported so much later.
const BEHIND: Duration = Duration::from_millis(100);

/// Looks at all of it, as the machine with this state directory and this file of settings. Takes some seconds at
/// most for each server.
pub async fn check(
    settings: &FleetSettings,
    state_dir: &Path,
    file: Option<&Path>,
) -> Vec<Checked> {
    let mut found = secrets(settings, file);
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
    let needs = needs(&settings.name, settings.serve_page);
    let refused = match member.refused(&needs).await {
        Ok(refused) => refused,
        Err(why) => {
            found.push(bad("fleet rights", why));
            return found;
        }
    };
    let may = |what: &str| !refused.iter().any(|need| need.tried.contains(what));
    // NATS sends no answers to a user that may not subscribe to its inbox.
    let hears = may("_INBOX_");
    let looks = settings.serve_page && hears && may(".STREAM.INFO.");
    let buckets = if looks { buckets(&member.context()).await } else { Vec::new() };
    // An operator may make the directory beforehand, and take these rights away from edges.
    let is_made = |need: &Need| {
        buckets.iter().any(|bucket| bucket.is_there && need.makes() == Some(bucket.name))
    };
    let lacking: Vec<&Need> = refused.iter().copied().filter(|need| !is_made(need)).collect();
    found.extend(rights(settings, member.user.as_deref(), &needs, &lacking));
    let all_are_made = buckets.iter().all(|bucket| bucket.is_there);
    found.extend(buckets.into_iter().map(|bucket| bucket.checked));
    if hears && all_are_made && may(&line(NODES, settings.name.as_str())) {
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
                        good(what, format!("the bucket {name} is as stayd makes it"))
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
            let detail = format!(
                "there is no bucket {name} yet: an edge that runs makes it within seconds, also after a restart of \
                 NATS; if none runs, start one"
            );
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
    /// The name of its user, where that is known here.
    user: Option<String>,
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
        // With credentials, NATS does not heed the one in the address.
        let user = address.username().filter(|_| settings.credentials.is_none());
        let (name, user) = (settings.name.to_string(), user.map(str::to_owned));
        match timeout(CONNECT, options.connect(address)).await {
            Ok(Ok(client)) => Ok(Member { client, name, user, refusals }),
            Ok(Err(error)) => Err(failed(error.into())),
            Err(_) => Err(format!(
                "{} does not answer within {} s: see that the port is open and that nats-server answers there",
                without_login(url),
                CONNECT.as_secs()
            )),
        }
    }

    fn context(&self) -> Context {
        jetstream::new(self.client.clone())
    }

    /// Tries all of these: which are refused. NATS answers in turn, so that all refusals have come once there is an
    /// answer to what is tried last: to be told this machine's own line, and to have a place for the answer.
    async fn refused<'a>(&mut self, needs: &'a [Need]) -> Result<Vec<&'a Need>, String> {
        let failed = |error: &dyn std::fmt::Display| format!("NATS cannot be asked: {error}");
        let (last, others): (Vec<&Need>, Vec<&Need>) =
            needs.iter().partition(|it| it.is_answered());
        let mut kept = Vec::new();
        for need in others {
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
        let inbox = |word: &str| format!("_INBOX_stayd.{}.{word}", self.name);
        let (answer, end) = (inbox("doctor"), inbox("end"));
        for need in &last {
            let asked =
                self.client.publish_with_reply(need.tried.clone(), answer.clone(), "".into());
            asked.await.map_err(|error| failed(&error))?;
        }
        // Without a permission for the inbox no answer comes, and NATS refuses this subscription.
        let subscribed = self.client.subscribe(end.clone()).await;
        kept.push(subscribed.map_err(|error| failed(&error))?);
        // NATS sends "no responders" to any one of the subscriptions that match the inbox.
        let mut arrives = select_all(kept).filter(|message| ready(*message.subject == *answer));
        let (mut refused, mut until) = (Vec::new(), Instant::now() + ANSWER);
        let mut is_answered = false;
        loop {
            let text = tokio::select! {
                text = timeout_at(until, self.refusals.recv()) => match text {
                    Ok(Some(text)) => text,
                    Ok(None) => return Ok(refused),
                    Err(_) if is_answered => return Ok(refused),
                    // An answer is missing: what was refused until now is all that is known.
                    Err(_) if refused.is_empty() => return Err("NATS does not answer in time".into()),
                    Err(_) => return Ok(refused),
                },
                _ = arrives.next(), if !is_answered => {
                    is_answered = true;
                    until = Instant::now() + BEHIND;
                    continue;
                }
            };
            refused.extend(needs.iter().find(|need| need.is_refused_by(&text)));
            let is_last = last.iter().any(|need| need.is_refused_by(&text));
            if is_last || is_refused(Asks::Subscribe, &end, &text) {
                return Ok(refused);
            }
        }
    }

    /// Whose this machine's name is, and the clock: of a line that was just put, NATS says when.
    async fn own_line(&self, settings: &FleetSettings, state_dir: &Path) -> Vec<Checked> {
        let (what, context, name) = ("fleet name", self.context(), &settings.name);
        let read = || bucket::last_of(&context, name);
        let before = match read().await {
            Ok(before) => before,
            Err(ReadError::NoBucket) => {
                let detail = format!(
                    "nobody has the name {name}, since there is no directory in NATS yet: the first edge (a machine \
                     whose fleet.serve_page is true) makes it. Start one, and this machine's server is in the fleet \
                     within seconds; if one runs, see what stayd doctor says there"
                );
                return vec![doubtful(what, detail)];
            }
            Err(ReadError::Failed(why)) => {
                let detail = format!(
                    "this machine's line in the directory cannot be read ({why}): see what stayd doctor says on an \
                     edge, and whether NATS runs undisturbed"
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
                Err(why) => vec![bad(what, why.to_string())],
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
