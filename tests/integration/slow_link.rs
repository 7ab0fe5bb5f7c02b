//! A client behind a slow network, under a flood: in a network namespace of its own, whose
//! loopback is limited to a megabit. Needs unshare (util-linux) and tc (iproute2); where they
//! are missing or the kernel refuses, it says so and skips.
#![allow(clippy::print_stdout)] // The figures are what one runs this for.

use crate::support::{Event, Server, Terminal};
use std::process::Command;
use std::time::{Duration, Instant};

/// Delay where the kernel has netem; else the queue of the limiter delays, up to 300 ms.
const SLOW: &str = "ip link set lo up mtu 1500 || exit 77
    if tc qdisc add dev lo root netem delay 50ms rate 1mbit 2>/dev/null; then
        echo 'loopback: 1 Mbit/s, 50 ms each way'
    elif tc qdisc add dev lo root tbf rate 1mbit burst 16kb latency 300ms; then
        echo 'loopback: 1 Mbit/s, up to 300 ms in its queue (this kernel has no netem)'
    else exit 77; fi
    STAYD_SLOW_LINK=1 exec \"$0\" --exact slow_link::behind_it --nocapture";

/// What is nothing to it runs in this process's place, and is there only for that.
#[test]
fn under_a_flood_a_client_behind_a_slow_link_sees_the_end_at_once() {
    let mut unshare = Command::new("unshare");
    unshare.arg("--net");
    if !nix::unistd::geteuid().is_root() {
        unshare.arg("--map-root-user");
    }
    let test = std::env::current_exe().expect("this test");
    let output = match unshare.args(["sh", "-c", SLOW]).arg(test).output() {
        Ok(output) => output,
        Err(error) => return println!("skipped: unshare: {error}"),
    };
    let said = String::from_utf8_lossy(&output.stdout);
    let told = String::from_utf8_lossy(&output.stderr);
    for line in said.lines().filter(|line| line.contains("loopback") || line.contains(" ms, RSS")) {
        println!("{line}");
    }
    if output.status.code() == Some(77) || told.contains("unshare failed") {
        return println!("skipped: no slow link here: {told}");
    }
    assert!(output.status.success() && said.contains("1 passed"), "{said}\n{told}");
}

#[actix_web::test]
async fn behind_it() {
    if std::env::var_os("STAYD_SLOW_LINK").is_none() {
        return;
    }
    let server = Server::start().await;
    // One that follows is shown all of it, however late: to compare with.
    let followed = ctrl_c(&server, "lag=follow").await;
    let mut slowest = Duration::ZERO;
    for _ in 0..3 {
        slowest = slowest.max(ctrl_c(&server, "lag=skip").await);
    }
    // A second is what is wanted, and what the figures show; this is what no doubt is.
    assert!(slowest < Duration::from_secs(5) && slowest < followed, "{slowest:?}");
}

/// From Ctrl-C to the last line on the screen, after a few seconds of a flood.
async fn ctrl_c(server: &Server, query: &str) -> Duration {
    let script = "stty -echo; trap 'printf the-end' INT; read -r _
        yes 'a line of output, as long as they are'; sleep 1000";
    let id = server.api().run(script).await;
    let (mut terminal, _) = Terminal::attach(server, &id, query).await;
    terminal.type_in("\n").await;
    let (before, start) = (server.rss_kib(), Instant::now());
    let mut most = before;
    while start.elapsed() < Duration::from_secs(3) {
        if let end @ (Event::Closed(..) | Event::Lost) = terminal.next().await {
            panic!("{end:?}");
        }
        most = most.max(server.rss_kib());
    }
    let flood = terminal.offset >> 20;
    terminal.screen.clear();
    let start = Instant::now();
    terminal.type_in("\x03").await;
    terminal.wait_for("the-end").await;
    let taken = start.elapsed();
    println!("{query}: {} ms, RSS {before} to {most} KiB, {flood} MiB before", taken.as_millis());
    server.api().delete(&format!("/api/v1/sessions/{id}")).await.ok(200);
    taken
}
