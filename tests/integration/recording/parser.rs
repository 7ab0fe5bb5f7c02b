//! An independent reader of the format: asciinema 2, which made it.
//!
//! Needs a Python environment with asciinema in `target/asciinema`, which `scripts/test`
//! makes; says so and skips where it is missing, unless `STAYD_REQUIRE_PARSER` is set.

use super::cast::recording;
use super::{flood, recorded};
use crate::support::Server;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Reads a file with asciinema's own code, and prints what it has found.
const SCRIPT: &str = r#"
import json, sys
from asciinema import asciicast
with asciicast.open_from_url(sys.argv[1]) as cast:
    events = list(cast.events())
    header = cast.v2_header
    assert all(a[0] <= b[0] for a, b in zip(events, events[1:])), "times go back"
    assert all(e[1] in "iomr" for e in events), "codes"
    text = "".join(e[2] for e in events if e[1] == "o")
    json.dump({"width": header["width"], "text": text, "events": len(events)}, sys.stdout)
"#;

fn environment() -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target");
    let found = target.join("asciinema/bin");
    if found.join("asciinema").exists() {
        return Some(found);
    }
    assert!(
        std::env::var_os("STAYD_REQUIRE_PARSER").is_none(),
        "asciinema is missing: run scripts/test, or make {} yourself",
        found.display()
    );
    eprintln!("SKIPPED: no asciinema in {}", found.display());
    None
}

#[actix_web::test]
async fn asciinema_reads_what_is_recorded() {
    let Some(bin) = environment() else { return };
    let server =
        Server::start_with(&["--recording-file-bytes=200000", "--ring-bytes=262144"]).await;
    let (script, expected) = flood(20_000);
    // Characters that some take for the ends of lines.
    let breaks = r#"printf '\342\200\250 \342\200\251 \302\205 \x0b \x0c \x1c \r\n'"#;
    let id = recorded(&server, "all", &format!("{breaks}; {script}")).await;
    server.api().ended(&id).await;
    let expected = format!("\u{2028} \u{2029} \u{85} \u{b} \u{c} \u{1c} \r\r\n{expected}");
    let whole = recording(&server, &id).await;
    assert!(whole.text("o") == expected);
    let dir = server.state();
    for (name, query) in [("whole", ""), ("first", "?file=1"), ("second", "?file=2")] {
        let reply = server.api().get(&format!("/api/v1/sessions/{id}/recording{query}")).await;
        assert_eq!(reply.status, 200, "{name}");
        let file = dir.join(format!("{name}.cast"));
        std::fs::write(&file, &reply.bytes).unwrap();
        let read =
            Command::new(bin.join("python")).args(["-c", SCRIPT]).arg(&file).output().unwrap();
        assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
        let found: serde_json::Value = serde_json::from_slice(&read.stdout).unwrap();
        let ours = super::Cast::parse(&reply.bytes);
        assert_eq!(found["width"], 80);
        assert_eq!(found["events"], ours.events.len());
        assert!(found["text"] == ours.text("o"), "{name}");
    }
    // As a person would. Without a terminal of ours it must not take: setsid(1).
    let mut cat = Command::new("setsid");
    cat.args(["--wait".as_ref(), bin.join("asciinema").as_os_str(), "cat".as_ref()]);
    let cat = cat.arg(dir.join("whole.cast")).env("PYTHONIOENCODING", "utf-8").env("HOME", &dir);
    let output = cat.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout == expected.as_bytes(), "{} bytes", output.stdout.len());
}
