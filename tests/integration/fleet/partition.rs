//! A partition: nats-server and an edge on one side, a machine on the other, and a router between them that
//! drops every packet without a word, both ways. Nobody is told, as with a cable that is cut far away.
//!
//! Each of the three has a network namespace of its own. They are made inside a namespace of processes and of
//! mounts, whose end takes everything along, files as well, also when this test is killed. Where the kernel
//! refuses, or where unshare, setpriv (util-linux) or ip (iproute2) is missing, the test says so and skips.
#![allow(clippy::print_stdout)] // The figures are what one runs this for.

use super::servers::settings;
use crate::support::{Api, Event, NatsPlace, NatsServer, Server, Terminal, dial, soon};
use actix_web::http::Method;
use actix_web::rt::time::sleep;
use actix_web::rt::{System, spawn};
use nix::sched::{CloneFlags, setns};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Between two looks at what tells nobody that it changes.
const LOOK: Duration = Duration::from_millis(20);
/// A machine that is gone is shown as offline within this time.
const OFFLINE: Duration = Duration::from_secs(10);
/// One that can be reached again is online, and reached, within this time.
const BACK: Duration = Duration::from_secs(5);
/// The longest that a keystroke on the machine itself may take: nothing there waits for the network.
const UNDISTURBED: Duration = Duration::from_secs(2);
/// The link is broken for so long, too, in milliseconds: before anybody notices, and while connections are given up.
const SHORT: [u64; 2] = [3000, 5000];

/// The edge's side is this process's; the others are named.
const NETWORK: &str = "command -v ip >/dev/null && mount -t tmpfs tmpfs /run || exit 77
    ip link set lo up && ip netns add router && ip netns add machine || exit 77
    in_router='nsenter --net=/run/netns/router' in_machine='nsenter --net=/run/netns/machine'
    ip link add edge0 type veth peer name edge1 netns router || exit 77
    ip addr add 10.77.1.2/24 dev edge0 && ip link set edge0 up && ip route add default via 10.77.1.1
    $in_router ip link add machine1 type veth peer name machine0 netns machine
    $in_router ip addr add 10.77.1.1/24 dev edge1 && $in_router ip link set edge1 up
    $in_router ip addr add 10.77.2.1/24 dev machine1 && $in_router ip link set machine1 up
    $in_router sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward' || exit 77
    $in_machine ip link set lo up && $in_machine ip addr add 10.77.2.2/24 dev machine0
    $in_machine ip link set machine0 up && $in_machine ip route add default via 10.77.2.1 || exit 77
    TMPDIR=/run STAYD_PARTITION=1 \"$0\" --exact fleet::partition::across_it --nocapture
    exit $?";

/// What is nothing to it runs in this process's place, and is there only for that.
#[test]
fn a_machine_behind_a_silent_network_comes_back_with_everything() {
    let skip = |why: &str| {
        let is_required = std::env::var_os("STAYD_REQUIRE_NETNS").is_some();
        assert!(!is_required, "no network namespaces with a link between them: {why}");
        println!("skipped: no network namespaces with a link between them: {why}");
    };
    // The processes inside go with unshare, and unshare goes with this thread.
    let mut unshare = Command::new("setpriv");
    unshare.args(["--pdeathsig", "KILL", "unshare", "--net", "--mount", "--pid", "--fork"]);
    unshare.args(["--kill-child", "--mount-proc"]);
    if !nix::unistd::geteuid().is_root() {
        unshare.arg("--map-root-user");
    }
    let test = std::env::current_exe().expect("this test");
    let output = match unshare.args(["sh", "-c", NETWORK]).arg(test).output() {
        Ok(output) => output,
        Err(error) => return skip(&format!("setpriv: {error}")),
    };
    let said = String::from_utf8_lossy(&output.stdout);
    let told = String::from_utf8_lossy(&output.stderr);
    for line in said.lines().chain(told.lines()) {
        if line.starts_with("partition: ") || line.starts_with("skipped: ") {
            println!("{line}");
        }
    }
    if output.status.code() == Some(77) || told.contains("unshare failed") {
        return skip(&told);
    }
    assert!(output.status.success() && said.contains("1 passed"), "{said}\n{told}");
}

/// The link between the two sides.
struct Link;

impl Link {
    /// The router drops every packet of either side, and tells neither.
    fn cut(&self) -> Instant {
        self.route("add");
        Instant::now()
    }

    fn heal(&self) -> Instant {
        self.route("del");
        Instant::now()
    }

    fn route(&self, what: &str) {
        for address in ["10.77.1.2", "10.77.2.2"] {
            let route = ["ip", "route", what, "blackhole", address];
            let done = Command::new("nsenter").arg("--net=/run/netns/router").args(route).status();
            assert!(done.expect("nsenter").success(), "{route:?}");
        }
    }
}

/// Does something on the machine's side of the network, beside everything else.
fn at_machine<T, F>(work: impl FnOnce() -> F + Send + 'static) -> oneshot::Receiver<T>
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let (tell, told) = oneshot::channel();
    std::thread::spawn(move || {
        let there = File::open("/run/netns/machine").expect("the machine's network");
        setns(there, CloneFlags::CLONE_NEWNET).expect("a thread in the machine's network");
        let _ = tell.send(System::new().block_on(work()));
    });
    told
}

/// Types on the machine itself and waits for each echo, until it is told to stop: how many there were, and the
/// longest that one took.
async fn type_undisturbed(api: Api, id: String, over: Arc<AtomicBool>) -> (u64, Duration) {
    let path = format!("/api/v1/sessions/{id}/attach?client=local");
    let mut terminal = Terminal::open(&api, &path, Some("stayd.v1")).await;
    let (mut typed, mut longest) = (0, Duration::ZERO);
    while !over.load(Ordering::Acquire) {
        typed += 1;
        let begun = Instant::now();
        terminal.type_in(format!("{typed}\n")).await;
        terminal.wait_for(&format!("<{typed}>")).await;
        longest = longest.max(begun.elapsed());
        terminal.screen.clear();
        sleep(LOOK).await;
    }
    terminal.leave().await;
    (typed, longest)
}

/// A client at the edge that comes back to where it was, as often as it is cut off.
#[derive(Default)]
struct Follower {
    output: RefCell<Vec<u8>>,
    cuts: Cell<usize>,
    attached: Cell<usize>,
}

impl Follower {
    /// Reads until the session ends.
    async fn follow(&self, api: Api, id: String) {
        loop {
            let path = format!(
                "/api/v1/sessions/{id}/attach?client=far&session={id}&offset={}",
                self.output.borrow().len()
            );
            let Ok(socket) = dial(&api, &path, Some("stayd.v1")).await else {
                sleep(LOOK).await;
                continue;
            };
            let mut terminal = Terminal::over(socket);
            loop {
                match terminal.next().await {
                    Event::Control(said) if said["type"] == "attached" => {
                        let offset = said["offset"].as_u64().expect("an offset") as usize;
                        assert_eq!(offset, self.output.borrow().len(), "it goes on where it was");
                        self.attached.set(self.attached.get() + 1);
                    }
                    Event::Control(said) if said["type"] == "exit" => return,
                    Event::Control(said) => assert_ne!(said["type"], "snapshot", "{said}"),
                    Event::Bytes(_) => self.output.borrow_mut().append(&mut terminal.screen),
                    Event::Closed(..) | Event::Lost => break,
                }
            }
            self.cuts.set(self.cuts.get() + 1);
        }
    }
}

async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) -> Instant {
    soon(what, async {
        while !is().await {
            sleep(LOOK).await;
        }
    })
    .await;
    Instant::now()
}

/// What the edge says of the machine.
async fn is_online(edge: &Api) -> bool {
    let nodes = edge.get("/api/v1/nodes").await.json();
    let nodes = nodes["nodes"].as_array().expect("nodes").clone();
    nodes.iter().any(|node| node["name"] == "attic" && node["state"] == "online")
}

/// Name and status of all sessions, by the edge's directory.
async fn listed(edge: &Api) -> Vec<(String, String)> {
    let all = edge.get("/api/v1/sessions?node=all&all=true").await.ok(200);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = all["sessions"].as_array().expect("a list").iter();
    let mut all: Vec<_> = all.map(|it| (text(&it["name"]), text(&it["status"]))).collect();
    all.sort();
    all
}

fn expected(all: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut all: Vec<_> =
        all.iter().map(|(name, status)| ((*name).to_owned(), (*status).to_owned())).collect();
    all.sort();
    all
}

async fn named(api: &Api, name: &str, script: &str) -> String {
    let body = json!({ "name": name, "command": ["bash", "-c", script] });
    api.create(body).await["id"].as_str().expect("an id").to_owned()
}

/// Counts, a line every 10 ms, until Ctrl+C is typed, which must not have the terminal forget output.
const COUNTS: &str = "stty -echo noflsh; trap over=1 INT; i=0
    while [ -z \"$over\" ]; do echo \"line $i\"; i=$((i+1)); sleep 0.01; done; echo \"end $i\"";
/// Answers what is typed.
const ANSWERS: &str = "stty -echo; while read -r line; do echo \"<$line>\"; done";

#[actix_web::test]
async fn across_it() {
    if std::env::var_os("STAYD_PARTITION").is_none() {
        return;
    }
    let place = NatsPlace::at("10.77.1.2");
    let text = settings("nats-plain.conf", &place);
    let Some(nats) = NatsServer::start_at(place, &text).await else { return };
    let url = nats.url_of("fleet", "CHANGE-ME");
    let fleet = |name: &str| format!("[fleet]\nurl = [\"{url}\"]\nname = \"{name}\"\n");
    let desk = Server::start_by(Server::dir(), &fleet("desk"), "exec \"$0\" \"$@\"").await;
    let there = "exec nsenter --net=/run/netns/machine \"$0\" \"$@\"";
    let attic = Server::start_by(Server::dir(), &fleet("attic"), there).await;
    let (edge, machine) = (desk.api(), attic.api());
    until("the machine online", || is_online(&edge)).await;

    let made = machine.clone();
    let made = at_machine(async move || {
        named(&made, "old", "sleep 1000").await;
        let doomed = named(&made, "doomed", "sleep 1000").await;
        (named(&made, "counts", COUNTS).await, named(&made, "answers", ANSWERS).await, doomed)
    });
    let (counts, answers, doomed) = made.await.expect("sessions");
    let before = ["answers", "counts", "doomed", "old"].map(|name| (name, "RUNNING"));
    until("all sessions at the edge", async || listed(&edge).await == expected(&before)).await;

    let follower = Rc::new(Follower::default());
    let followed = follower.clone();
    let (api, id) = (edge.clone(), counts.clone());
    let following = spawn(async move { followed.follow(api, id).await });
    let over = Arc::new(AtomicBool::new(false));
    let (api, is_over) = (machine.clone(), over.clone());
    let typing = at_machine(move || type_undisturbed(api, answers, is_over));
    until("output at the edge", async || follower.output.borrow().len() > 1000).await;
    let before =
        [("answers", "ACTIVE"), ("counts", "ACTIVE"), ("doomed", "RUNNING"), ("old", "RUNNING")];
    until("clients at the edge", async || listed(&edge).await == expected(&before)).await;

    // Until all have noticed.
    let link = Link;
    let cut = link.cut();
    let offline = until("the machine offline", async || {
        let listed = listed(&edge).await;
        assert_eq!(listed, expected(&before), "as they last said, and never ended");
        !is_online(&edge).await
    })
    .await;
    let took = offline - cut;
    println!("partition: every packet dropped; offline after {took:.1?}");
    assert!(took <= OFFLINE, "{took:?}");
    until("the client at the edge cut off", async || follower.cuts.get() > 0).await;
    println!("partition: the client at the edge was cut off after {:.1?}", cut.elapsed());
    let path = format!("/api/v1/nodes/attic/sessions/{counts}");
    edge.get(&path).await.problem(503, "node_offline");
    // Meanwhile life goes on there.
    let api = machine.clone();
    let changed = at_machine(async move || {
        api.delete(&format!("/api/v1/sessions/{doomed}")).await;
        let doomed = api.ended(&doomed).await;
        let body = json!({ "name": "new" }).to_string();
        api.send(Method::PATCH, "/api/v1/sessions/old", body).await.ok(200);
        named(&api, "made", "sleep 1000").await;
        doomed["status"].as_str().expect("a status").to_owned()
    });
    let ended = changed.await.expect("changes");
    assert_eq!(listed(&edge).await, expected(&before), "nothing has come through");
    assert!(!is_online(&edge).await);

    let length = cut.elapsed();
    let attached = follower.attached.get();
    let healed = link.heal();
    let back = until("the machine online again", || is_online(&edge)).await - healed;
    let after = [
        ("answers", "ACTIVE"),
        ("counts", "ACTIVE"),
        ("doomed", ended.as_str()),
        ("made", "RUNNING"),
        ("new", "RUNNING"),
    ];
    let right =
        until("what has changed", async || listed(&edge).await == expected(&after)).await - healed;
    let on = until("the client at the edge again", async || follower.attached.get() > attached);
    let on = on.await - healed;
    println!(
        "partition: {length:.1?} long; after it online in {back:.1?}, the client in {on:.1?}, \
         all sessions right in {right:.1?}"
    );
    assert!(back <= BACK, "{back:?}");

    // Over before anybody has noticed, or while they do. More of them, and longer ones, say how long the way back is.
    let lengths = std::env::var("STAYD_PARTITION_MS").unwrap_or_default();
    let lengths: Vec<u64> = lengths.split_whitespace().map(|ms| ms.parse().expect("ms")).collect();
    for length in if lengths.is_empty() { SHORT.to_vec() } else { lengths } {
        let cut = link.cut();
        // This tries a partition of a certain length, so there is no event to wait for.
        sleep(Duration::from_millis(length)).await;
        let lines = follower.output.borrow().len();
        let healed = link.heal();
        let back = until("the machine reached again", async || {
            is_online(&edge).await && edge.get(&path).await.status == 200
        });
        let back = back.await - healed;
        let on = until("output at the edge", async || follower.output.borrow().len() > lines + 100);
        let on = on.await - healed;
        let length = healed - cut;
        println!("partition: {length:.1?} long; reached in {back:.1?}, output in {on:.1?}");
        assert!(back <= BACK, "{back:?}");
    }

    // Ctrl+C through the edge ends it.
    let path = format!("/api/v1/sessions/{counts}/input");
    edge.post(&path, "\x03").await.ok(200);
    soon("the end of the output", following).await.expect("the client at the edge");
    let output = String::from_utf8(follower.output.borrow().clone()).expect("text");
    let lines: Vec<&str> = output.lines().collect();
    let (last, counted) = lines.split_last().expect("lines");
    for (number, line) in counted.iter().enumerate() {
        assert_eq!(*line, format!("line {number}"), "not a byte is missing or twice there");
    }
    assert_eq!(*last, format!("end {}", counted.len()));
    over.store(true, Ordering::Release);
    let (typed, longest) = soon("the local client's end", typing).await.expect("the local client");
    println!(
        "partition: {} bytes at the edge, 0 lost, {} cuts; {typed} lines typed at the machine, \
         the slowest answered in {longest:.1?}",
        output.len(),
        follower.cuts.get(),
    );
    assert!(longest < UNDISTURBED, "{longest:?}");
}
