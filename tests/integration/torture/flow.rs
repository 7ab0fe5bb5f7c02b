//! Who holds up a program, and for how long: nobody may lose what it prints, and nobody
//! may keep it from printing.

use super::client::{Client, Got};
use super::stream::{self, Stream};
use super::world::World;
use super::{processes, start};
use crate::support::{Api, DEADLINE, Event, Server, Terminal, soon};
use actix_web::rt::time::sleep;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The ring of a session, in bytes.
const RING: u64 = 2 << 20;
/// Output between the program and the ring, in bytes: the kernel's own buffers.
const PIPELINE: u64 = 256 << 10;
/// Between two looks at what tells nobody that it changes.
const LOOK: Duration = Duration::from_millis(20);

/// Bytes that a process has ever written (proc_pid_io(5)).
fn written(pid: i32) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io")).expect("proc_pid_io");
    let line = io.lines().find_map(|line| line.strip_prefix("wchar: ")).expect("wchar");
    line.parse().expect("a number")
}

/// Waits until a process waits in write(2): it sleeps and has written nothing for a while.
async fn blocked(pid: i32) -> u64 {
    soon("the program waits", async {
        let (mut seen, mut looks) = (written(pid), 0);
        while looks < 25 {
            sleep(LOOK).await;
            let now = written(pid);
            looks = if now == seen { looks + 1 } else { 0 };
            seen = now;
        }
        seen
    })
    .await
}

async fn flood(server: &Server) -> (i32, Client) {
    let id = start(server, stream::PRINTER).await;
    let pid = server.api().session(&id).await["pid"].as_i64().expect("a pid") as i32;
    let world = Rc::new(World::default());
    let client = Client::new(&world, &server.api(), "reader", &id);
    (pid, client)
}

/// Reads, and compares, until it has the stream before `offset`.
async fn read_to(client: &mut Client, stream: &mut Stream, offset: u64) {
    while client.offset < offset {
        match client.next().await {
            Got::Output(bytes) => {
                let compared = stream.matches(&bytes);
                compared.unwrap_or_else(|difference| panic!("{}", difference.explain(&bytes)));
            }
            Got::News => {}
            other => panic!("{other:?} at {}", client.offset),
        }
    }
}

#[actix_web::test]
async fn a_program_waits_for_a_server_that_is_away_for_longer_than_the_ring_holds() {
    let mut server = Server::start_quiet().await;
    let (pid, mut client) = flood(&server).await;
    let mut stream = Stream::new();
    client.type_in(b"go\n").await;
    read_to(&mut client, &mut stream, 3 * RING).await;
    for _ in 0..3 {
        server.kill();
        let stopped = blocked(pid).await;
        assert!(processes::process(pid).is_some(), "it waits, it has not ended");
        // It filled the ring, and no more. (The ring begins where the last acknowledgement or
        // the last checkpoint of the screen was, whichever is earlier.)
        let ahead = stopped - client.offset;
        assert!(ahead <= RING + PIPELINE, "ran on for {ahead} bytes");
        server.restart().await;
        read_to(&mut client, &mut stream, stopped + 2 * RING).await;
        assert!(written(pid) > stopped, "it goes on");
    }
}

/// Waits until the program has printed more than a ring beyond `from`: that is, until
/// it does not wait any more for the client that has only that.
async fn runs_on(api: &Api, id: &str, from: u64) -> Duration {
    let start = Instant::now();
    while start.elapsed() < DEADLINE {
        if api.session(id).await["offset"].as_u64().expect("offset") > from + RING {
            return start.elapsed();
        }
        sleep(LOOK).await;
    }
    panic!("the program was held up for {DEADLINE:?} at {from}");
}

/// Attaches a client that acknowledges, starts the flood and reads some of it.
async fn acknowledging(server: &Server, id: &str) -> Terminal {
    let query = format!("client=stalls&session={id}&offset=0");
    let (mut terminal, _) = Terminal::attach(server, id, &query).await;
    terminal.type_in("go\n").await;
    while terminal.offset < RING {
        terminal.next().await;
    }
    terminal
}

#[actix_web::test]
async fn a_stalled_client_holds_a_program_up_for_five_seconds_and_no_longer() {
    let server = Server::start_quiet().await;
    let id = start(&server, stream::PRINTER).await;
    let mut terminal = acknowledging(&server, &id).await;
    // It stays, and neither reads nor acknowledges any more.
    let held = runs_on(&server.api(), &id, terminal.offset).await;
    assert!(held >= Duration::from_secs(4), "let go after {held:?} only");
    // The program stays free, and the client is told where it is once it reads again.
    let session = server.api().session(&id).await;
    assert_eq!(session["active_connections"], 1);
    let offset = session["offset"].as_u64().expect("offset");
    runs_on(&server.api(), &id, offset).await;
    let picture = soon("a picture", async {
        loop {
            if let Event::Control(said) = terminal.next().await
                && said["type"] == "snapshot"
            {
                return said;
            }
        }
    });
    assert!(picture.await["offset"].as_u64() > Some(offset));
}

#[actix_web::test]
async fn a_client_that_vanishes_holds_nothing_up() {
    let mut server = Server::start_quiet().await;
    let id = start(&server, stream::PRINTER).await;
    let terminal = acknowledging(&server, &id).await;
    let offset = terminal.offset;
    drop(terminal);
    let mine = |line: &serde_json::Value| line["session"] == id && line["to"] == "IDLE";
    server.wait_for_log("idle", mine).await;
    let held = runs_on(&server.api(), &id, offset).await;
    // Less than anybody who is still attached could hold it up.
    assert!(held < Duration::from_secs(4), "held up for {held:?}");
}
