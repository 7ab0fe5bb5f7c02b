//! What the users of docs/fleet/nats-tls.conf may do and may not, with nats-server itself.

use super::servers::{bucket, settings_with_tls};
use crate::support::{NatsPlace, NatsServer, soon};
use async_nats::header::HeaderMap;
use async_nats::jetstream::{self, kv, stream};
use async_nats::{Client, ConnectOptions, Event};
use futures_util::StreamExt;
use std::path::PathBuf;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// The file's server, with a second edge `lamp` and a second node `cellar`.
struct Fleet {
    server: NatsServer,
}

/// One connection of a user, and what the server refuses on it.
struct Member {
    name: &'static str,
    client: Client,
    refusals: UnboundedReceiver<String>,
    asked: usize,
}

/// What a row of a table asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Asks {
    Publish,
    Subscribe,
}
use Asks::{Publish, Subscribe};

impl Fleet {
    async fn start() -> Option<Self> {
        let place = NatsPlace::new();
        let text = settings_with_tls(&place);
        // The users again, under other names, as the file says.
        let (head, users) = text.split_once("  users: [\n").expect("users");
        let (users, tail) = users.split_once("\n  ]\n").expect("their end");
        let others = users.replace("desk", "lamp").replace("attic", "cellar");
        let all = format!("{head}  users: [\n{users}\n{others}\n  ]\n{tail}");
        Some(Fleet { server: NatsServer::start_at(place, &all).await? })
    }

    fn certificate(&self) -> PathBuf {
        self.server.place().dir().join("cert.pem")
    }

    async fn member(&self, name: &'static str) -> Member {
        let (tell, refusals) = unbounded_channel();
        let options = ConnectOptions::new()
            .user_and_password(name.to_owned(), format!("CHANGE-ME-{name}"))
            .add_root_certificates(self.certificate())
            .require_tls(true)
            .custom_inbox_prefix(format!("_INBOX_stayd.{name}"))
            .event_callback(move |event| {
                if let Event::ServerError(error) = event {
                    let _ = tell.send(error.to_string());
                }
                std::future::ready(())
            });
        let client = soon("a connection", options.connect(self.server.url())).await;
        Member { name, client: client.expect("a connection"), refusals, asked: 0 }
    }
}

impl Member {
    fn jetstream(&self) -> jetstream::Context {
        jetstream::new(self.client.clone())
    }

    /// What was refused until now. The server answers in turn, so that the refusal of a subject
    /// that nobody may use comes after all before it.
    async fn refused(&mut self) -> Vec<String> {
        self.asked += 1;
        let last = format!("refused.{}.{}", self.name, self.asked);
        self.client.publish(last.clone(), "".into()).await.expect("sent");
        let mut all = Vec::new();
        loop {
            let refusal = soon("a refusal", self.refusals.recv()).await.expect("a connection");
            if refusal.contains(&last) {
                return all;
            }
            all.push(refusal);
        }
    }

    /// Whether the server lets this user publish or subscribe.
    async fn may(&mut self, asks: Asks, subject: &str) -> bool {
        let (kind, kept) = match asks {
            Publish => {
                let reply = format!("_INBOX_stayd.{}.table", self.name);
                let sent = self.client.publish_with_reply(subject.to_owned(), reply, "".into());
                sent.await.expect("sent");
                ("Publish", None)
            }
            Subscribe => {
                let kept = self.client.subscribe(subject.to_owned()).await.expect("sent");
                ("Subscription", Some(kept))
            }
        };
        let refused = self.refused().await;
        drop(kept);
        // The server writes subjects in small letters or in the user's, by its version.
        let refused = refused.join("\n").to_lowercase();
        let this = format!("{kind} to \"{subject}\"").to_lowercase();
        assert!(refused.is_empty() || refused.contains(&this), "{refused} instead of {this}");
        refused.is_empty()
    }

    async fn walk(&mut self, table: &[(Asks, &[&str], bool)]) {
        for &(asks, subjects, expected) in table {
            for subject in subjects {
                let may = self.may(asks, subject).await;
                assert_eq!(may, expected, "{asks:?} of {} to {subject}", self.name);
            }
        }
    }
}

const API_OF_ALL_BUCKETS: &[&str] = &[
    "$JS.API.STREAM.DELETE.KV_stayd-nodes",
    "$JS.API.STREAM.DELETE.KV_stayd-sessions",
    "$JS.API.STREAM.DELETE.KV_stayd-placements",
    "$JS.API.STREAM.PURGE.KV_stayd-nodes",
    "$JS.API.STREAM.PURGE.KV_stayd-sessions",
    "$JS.API.STREAM.UPDATE.KV_stayd-nodes",
    "$JS.API.STREAM.UPDATE.KV_stayd-sessions",
    "$JS.API.STREAM.MSG.DELETE.KV_stayd-sessions",
    "$JS.API.STREAM.MSG.GET.KV_stayd-sessions",
    "$JS.API.STREAM.CREATE.other",
    "$JS.API.STREAM.SNAPSHOT.KV_stayd-sessions",
    "$JS.API.STREAM.RESTORE.KV_stayd-sessions",
    "$JS.API.STREAM.LIST",
    "$JS.API.STREAM.NAMES",
    "$JS.API.CONSUMER.LIST.KV_stayd-sessions",
    "$JS.API.CONSUMER.NAMES.KV_stayd-sessions",
    "$JS.API.CONSUMER.DURABLE.CREATE.KV_stayd-sessions.it",
    "$JS.API.CONSUMER.MSG.NEXT.KV_stayd-sessions.it",
    "$SYS.REQ.SERVER.PING",
];

const NOBODYS_TO_HEAR: &[&str] = &[
    ">",
    "*.>",
    "$KV.>",
    "$KV.stayd-sessions.>",
    "$KV.stayd-nodes.*",
    "$JS.>",
    "$JS.API.>",
    "$SYS.>",
    "_INBOX.>",
    "_INBOX_stayd.>",
    "_INBOX_stayd.*.>",
    "stayd.>",
    "stayd.node.>",
    "stayd.node.*.>",
    "stayd.edge.>",
    "stayd.edge.*.>",
    "stayd.node.cellar.>",
    "stayd.node.cellar.lamp.1",
    "stayd.edge.lamp.>",
    "stayd.edge.*.cellar.*",
    "_INBOX_stayd.cellar.>",
    "_INBOX_stayd.lamp.>",
];

#[actix_web::test]
async fn a_node_has_its_own_subjects_and_nothing_else() {
    let Some(fleet) = Fleet::start().await else { return };
    let own = &[
        "stayd.edge.desk.attic.2.1",
        "stayd.edge.lamp.attic.alive",
        "$KV.stayd-nodes.attic",
        "$KV.stayd-sessions.attic.1",
        "$KV.stayd-sessions.attic.node",
        "$JS.API.DIRECT.GET.KV_stayd-nodes.$KV.stayd-nodes.attic",
    ];
    let others = &[
        // Another node, and an edge's place.
        "stayd.node.cellar.attic.1",
        "stayd.node.cellar.desk.1",
        "stayd.node.attic.desk.1",
        "stayd.node.attic.attic.1",
        "stayd.edge.desk.cellar.1",
        "stayd.edge.desk.cellar.2.1",
        "stayd.edge.2.desk.attic.1",
        // The lines of others, to write and to read.
        "$KV.stayd-nodes.cellar",
        "$KV.stayd-nodes.attic.more",
        "$KV.stayd-sessions.attic",
        "$KV.stayd-sessions.cellar.1",
        "$KV.stayd-placements.1",
        "$JS.API.DIRECT.GET.KV_stayd-nodes",
        "$JS.API.DIRECT.GET.KV_stayd-nodes.$KV.stayd-nodes.cellar",
        "$JS.API.DIRECT.GET.KV_stayd-nodes.$KV.stayd-nodes.>",
        "$JS.API.DIRECT.GET.KV_stayd-sessions",
        "$JS.API.DIRECT.GET.KV_stayd-sessions.$KV.stayd-sessions.cellar.1",
        "$JS.API.STREAM.INFO.KV_stayd-sessions",
        "$JS.API.STREAM.CREATE.KV_stayd-nodes",
        "$JS.API.CONSUMER.CREATE.KV_stayd-sessions",
        "$JS.API.CONSUMER.CREATE.KV_stayd-sessions.it.$KV.stayd-sessions.>",
        "$JS.API.CONSUMER.DELETE.KV_stayd-sessions.it",
        "$JS.API.CONSUMER.INFO.KV_stayd-sessions.it",
        "$JS.FC.KV_stayd-sessions.it.1",
        // Inboxes.
        "_INBOX_stayd.cellar.1",
        "_INBOX_stayd.desk.1",
    ];
    let mut node = fleet.member("attic").await;
    node.walk(&[
        (Publish, own, true),
        (Publish, others, false),
        (Publish, API_OF_ALL_BUCKETS, false),
        (Subscribe, &["stayd.node.attic.>", "_INBOX_stayd.attic.>", "_INBOX_stayd.attic.1"], true),
        (Subscribe, NOBODYS_TO_HEAR, false),
        (Subscribe, &["stayd.edge.attic.>", "stayd.edge.desk.attic.*"], false),
    ])
    .await;
}

#[actix_web::test]
async fn an_edge_has_the_directory_and_its_own_name() {
    let Some(fleet) = Fleet::start().await else { return };
    let own = &[
        "stayd.node.attic.desk.2.1",
        "stayd.node.cellar.desk.alive",
        "stayd.edge.lamp.desk.1",
        "$KV.stayd-nodes.desk",
        "$KV.stayd-sessions.desk.1",
        "$KV.stayd-placements.0a1b",
        "$JS.API.INFO",
        "$JS.API.STREAM.CREATE.KV_stayd-placements",
        "$JS.API.STREAM.INFO.KV_stayd-sessions",
        "$JS.API.DIRECT.GET.KV_stayd-sessions.$KV.stayd-sessions.attic.1",
        "$JS.API.DIRECT.GET.KV_stayd-placements.$KV.stayd-placements.0a1b",
        "$JS.API.CONSUMER.CREATE.KV_stayd-sessions",
        "$JS.API.CONSUMER.CREATE.KV_stayd-nodes.it.$KV.stayd-nodes.>",
        "$JS.API.CONSUMER.DELETE.KV_stayd-nodes.it",
        "$JS.FC.KV_stayd-sessions.it.1",
    ];
    let others = &[
        // Another edge's place, and another node's.
        "stayd.node.attic.lamp.1",
        "stayd.node.attic.attic.1",
        "stayd.node.attic.lamp.2.1",
        "stayd.edge.lamp.attic.1",
        "stayd.edge.desk.attic.1",
        "$KV.stayd-nodes.attic",
        "$KV.stayd-nodes.lamp",
        "$KV.stayd-sessions.attic.1",
        "$KV.stayd-sessions.lamp.1",
        "$JS.API.CONSUMER.CREATE.other",
        "$JS.API.CONSUMER.CREATE.KV_stayd-placements",
        "_INBOX_stayd.attic.1",
        "_INBOX_stayd.lamp.1",
    ];
    let mut edge = fleet.member("desk").await;
    edge.walk(&[
        (Publish, own, true),
        (Publish, others, false),
        (Publish, API_OF_ALL_BUCKETS, false),
        (Subscribe, &["stayd.node.desk.>", "stayd.edge.desk.>", "_INBOX_stayd.desk.>"], true),
        (Subscribe, NOBODYS_TO_HEAR, false),
        (Subscribe, &["stayd.node.attic.>", "stayd.node.*.desk.*"], false),
    ])
    .await;
}

async fn buckets(edge: &Member) -> [kv::Store; 3] {
    let jetstream = edge.jetstream();
    let make = async |name| {
        let made = jetstream.create_key_value(bucket(name, 1));
        soon("a bucket", made).await.expect("a bucket")
    };
    [make("stayd-nodes").await, make("stayd-sessions").await, make("stayd-placements").await]
}

/// A key of one's own in a bucket that one may not ask about, if its revision is as expected.
async fn put(node: &Member, subject: &str, value: &str, revision: u64) -> Result<u64, ()> {
    let mut headers = HeaderMap::new();
    let revision = revision.to_string();
    headers.insert("Nats-Expected-Last-Subject-Sequence", revision.as_str());
    let value = value.to_owned().into();
    let sent = node.jetstream().publish_with_headers(subject.to_owned(), headers, value).await;
    let receipt = soon("a receipt", sent.expect("sent").into_future()).await;
    receipt.map(|receipt| receipt.sequence).map_err(drop)
}

async fn delete(node: &Member, subject: &str) {
    let mut headers = HeaderMap::new();
    headers.insert("KV-Operation", "DEL");
    let sent = node.jetstream().publish_with_headers(subject.to_owned(), headers, "".into()).await;
    soon("a receipt", sent.expect("sent").into_future()).await.expect("a receipt");
}

async fn next(watch: &mut kv::Watch) -> kv::Entry {
    soon("an entry", watch.next()).await.expect("a watch").expect("an entry")
}

#[actix_web::test]
async fn members_can_do_their_work() {
    let Some(fleet) = Fleet::start().await else { return };
    let (mut edge, mut node) = (fleet.member("desk").await, fleet.member("attic").await);
    let other = fleet.member("lamp").await;
    let [nodes, sessions, placements] = buckets(&edge).await;
    // They are there already.
    buckets(&other).await;
    let opened = edge.jetstream().get_key_value("stayd-nodes").await;
    opened.expect("an edge opens a bucket");
    let mut all_nodes = soon("a watch", nodes.watch_all()).await.expect("a watch");
    let mut all_sessions = soon("a watch", sessions.watch_with_history(">")).await.expect("one");

    // The node's heartbeat: only it, or who has the revision, goes on.
    let first = put(&node, "$KV.stayd-nodes.attic", "1", 0).await.expect("its name was free");
    put(&node, "$KV.stayd-nodes.attic", "2", 0).await.expect_err("its name is taken");
    let second = put(&node, "$KV.stayd-nodes.attic", "2", first).await.expect("its own revision");
    let stream = node.jetstream().get_stream_no_info("KV_stayd-nodes").await.expect("no request");
    let found = stream.direct_get_last_for_subject("$KV.stayd-nodes.attic");
    let found = soon("its own line", found).await.expect("its own line");
    assert_eq!((found.sequence, &found.payload[..]), (second, &b"2"[..]));
    for value in ["1", "2"] {
        let entry = next(&mut all_nodes).await;
        assert_eq!((&*entry.key, &entry.value[..]), ("attic", value.as_bytes()));
    }

    // Its sessions.
    put(&node, "$KV.stayd-sessions.attic.1", "{}", 0).await.expect("a session");
    let entry = next(&mut all_sessions).await;
    assert_eq!((&*entry.key, entry.operation), ("attic.1", kv::Operation::Put));
    delete(&node, "$KV.stayd-sessions.attic.1").await;
    let entry = next(&mut all_sessions).await;
    assert_eq!((&*entry.key, entry.operation), ("attic.1", kv::Operation::Delete));
    delete(&node, "$KV.stayd-nodes.attic").await;
    assert_eq!(next(&mut all_nodes).await.operation, kv::Operation::Delete);

    // An edge's own lines, and what is placed: by one of two.
    let own = nodes.create("desk", "1".into()).await.expect("its name was free");
    nodes.update("desk", "2".into(), own).await.expect("its own revision");
    sessions.put("desk.1", "{}".into()).await.expect("a session");
    placements.create("0a1b", "attic".into()).await.expect("a placement");
    placements.create("0a1b", "cellar".into()).await.expect_err("placed already");
    assert!(placements.entry("0a1b").await.expect("an answer").is_some());

    // A request and its answer.
    let mut asked = node.client.subscribe("stayd.node.attic.>").await.expect("sent");
    let mut answered = edge.client.subscribe("stayd.edge.desk.>").await.expect("sent");
    for member in [&node, &edge] {
        member.client.flush().await.expect("sent");
    }
    // A subscription is in force once the server has answered something after it.
    assert_eq!(node.refused().await, [""; 0]);
    assert_eq!(edge.refused().await, [""; 0]);
    edge.client.publish("stayd.node.attic.desk.s1", "open".into()).await.expect("sent");
    let open = soon("a request", asked.next()).await.expect("a request");
    assert_eq!(&*open.subject, "stayd.node.attic.desk.s1");
    node.client.publish("stayd.edge.desk.attic.s1", "data".into()).await.expect("sent");
    let data = soon("an answer", answered.next()).await.expect("an answer");
    assert_eq!(&data.payload[..], b"data");

    // All of it without a refusal.
    assert_eq!(node.refused().await, [""; 0]);
    assert_eq!(edge.refused().await, [""; 0]);
}

/// The server checks the subject that a request is sent to, and neither what is in it nor where its
/// answer goes. What this lets through is for stayd to throw away.
#[actix_web::test]
async fn what_the_server_answers_elsewhere_cannot_be_taken_for_a_members_message() {
    let Some(fleet) = Fleet::start().await else { return };
    let (edge, mut node) = (fleet.member("desk").await, fleet.member("attic").await);
    let mut victim = fleet.member("cellar").await;
    let [_, sessions, _] = buckets(&edge).await;
    sessions.put("desk.1", "secret".into()).await.expect("a session");
    put(&node, "$KV.stayd-nodes.attic", "open", 0).await.expect("its line");
    let mut heard = victim.client.subscribe("stayd.node.cellar.>").await.expect("sent");
    assert_eq!(victim.refused().await, [""; 0]);

    // Answers of the server, sent to another node as if an edge spoke.
    let own = "$JS.API.DIRECT.GET.KV_stayd-nodes.$KV.stayd-nodes.attic";
    let there = "stayd.node.cellar.desk.s1";
    for to in [own, "$KV.stayd-sessions.attic.1"] {
        node.client.publish_with_reply(to, there, "".into()).await.expect("sent");
    }
    assert_eq!(node.refused().await, [""; 0]);
    for _ in 0..2 {
        let message = soon("an answer", heard.next()).await.expect("an answer");
        let marked = message.headers.is_some() || message.payload.starts_with(b"{");
        assert!(marked, "{message:?} looks like a member's");
    }

    // A consumer that delivers where its maker may not publish. The server finds a subscriber for it
    // only if one has asked for that very subject.
    let mut heard = victim.client.subscribe(there).await.expect("sent");
    assert_eq!(victim.refused().await, [""; 0]);
    let consumer = jetstream::consumer::push::Config {
        deliver_subject: there.to_owned(),
        filter_subject: "$KV.stayd-sessions.desk.1".to_owned(),
        ack_policy: jetstream::consumer::AckPolicy::None,
        ..Default::default()
    };
    let stream = edge.jetstream().get_stream("KV_stayd-sessions").await.expect("the stream");
    stream.create_consumer(consumer).await.expect("a consumer");
    let message = soon("its message", heard.next()).await.expect("its message");
    assert_eq!(&*message.subject, "$KV.stayd-sessions.desk.1", "{message:?}");
    assert!(message.reply.is_some(), "{message:?}");
}

/// A request for one's own line reads no other, whatever its body asks for.
#[actix_web::test]
async fn a_node_reads_its_own_line_only() {
    let Some(fleet) = Fleet::start().await else { return };
    let (edge, node) = (fleet.member("desk").await, fleet.member("attic").await);
    let [nodes, ..] = buckets(&edge).await;
    let other = nodes.create("desk", "secret".into()).await.expect("a line");
    put(&node, "$KV.stayd-nodes.attic", "own", 0).await.expect("its line");
    let own = "$JS.API.DIRECT.GET.KV_stayd-nodes.$KV.stayd-nodes.attic";
    for body in [
        format!("{{\"seq\":{other}}}"),
        "{\"last_by_subj\":\"$KV.stayd-nodes.desk\"}".to_owned(),
        "{\"next_by_subj\":\"$KV.stayd-nodes.>\"}".to_owned(),
        "{\"multi_last\":[\"$KV.stayd-nodes.>\"]}".to_owned(),
        "{\"batch\":10,\"seq\":1,\"next_by_subj\":\"$KV.stayd-nodes.>\"}".to_owned(),
    ] {
        let answer = soon("an answer", node.client.request(own, body.clone().into())).await;
        let answer = answer.expect("an answer");
        assert_ne!(&answer.payload[..], b"secret", "{body}");
    }
}

/// A put may ask for the removal of everything else, unless the bucket forbids it.
#[actix_web::test]
async fn a_node_cannot_empty_a_bucket_by_a_put() {
    let Some(fleet) = Fleet::start().await else { return };
    let (edge, node) = (fleet.member("desk").await, fleet.member("attic").await);
    for name in ["stayd-nodes", "stayd-sessions"] {
        let made = stream::Config {
            name: format!("KV_{name}"),
            subjects: vec![format!("$KV.{name}.>")],
            max_messages_per_subject: 1,
            max_age: bucket(name, 1).max_age,
            storage: stream::StorageType::Memory,
            discard: stream::DiscardPolicy::New,
            allow_direct: true,
            deny_delete: true,
            deny_purge: true,
            allow_rollup: false,
            ..stream::Config::default()
        };
        edge.jetstream().create_stream(made).await.expect("a stream");
        let store = edge.jetstream().get_key_value(name).await.expect("a bucket");
        store.put("desk.1", "{}".into()).await.err();
        store.put("desk", "{}".into()).await.err();
    }
    for subject in ["$KV.stayd-nodes.attic", "$KV.stayd-sessions.attic.1"] {
        for kind in ["all", "sub"] {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Rollup", kind);
            let sent = node.jetstream().publish_with_headers(subject, headers, "{}".into()).await;
            let receipt = soon("an answer", sent.expect("sent").into_future()).await;
            receipt.expect_err("a put that removes others is refused");
        }
        put(&node, subject, "{}", 0).await.expect("a put");
        delete(&node, subject).await;
    }
    let sessions = edge.jetstream().get_key_value("stayd-sessions").await.expect("a bucket");
    assert!(sessions.get("desk.1").await.expect("an answer").is_some());
}
