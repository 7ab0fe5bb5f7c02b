//! Runs the program of a hook.

use super::Outcome;
use crate::registry::{home, plain_environment};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::timeout;

/// From SIGTERM to SIGKILL.
const TERM_GRACE: Duration = Duration::from_secs(2);
/// Bytes of a program's last output that are logged if it fails.
const OUTPUT_MAX: usize = 4096;
/// What a program has printed is read so long after its end: what it left in the background may hold the
/// pipe for ever.
const OUTPUT_GRACE: Duration = Duration::from_millis(200);

/// Runs a program once, with the event on standard input. If this future is dropped, the program and
/// what it has started in its process group are killed.
pub(super) async fn run(command: &[String], input: String, limit: Duration) -> Outcome {
    let Some((program, arguments)) = command.split_first() else {
        return Outcome::Refused("no program".to_owned());
    };
    let mut child = Command::new(program);
    child
        .args(arguments)
        .env_clear()
        .envs(plain_environment())
        .current_dir(home())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let mut child = match child.spawn() {
        Ok(child) => child,
        Err(error) => return Outcome::Failed(format!("{program}: {error}")),
    };
    let mut group = Group::of(child.id());
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A program need not read it.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        std::future::pending::<()>().await;
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let ended = {
        let read = async {
            tokio::join!(keep_last(stdout, &mut out), keep_last(stderr, &mut err));
        };
        tokio::pin!(read, feed);
        let mut is_read = false;
        let wait = async {
            loop {
                tokio::select! {
                    status = child.wait() => break status,
                    () = &mut read, if !is_read => is_read = true,
                    () = &mut feed => {}
                }
            }
        };
        let ended = timeout(limit, wait).await;
        if ended.is_ok() && !is_read {
            let _ = timeout(OUTPUT_GRACE, read).await;
        }
        ended
    };
    let printed = printed(&out, &err);
    match ended {
        Ok(Ok(status)) => {
            group.leave();
            match status.success() {
                true => Outcome::Delivered,
                false => Outcome::Failed(format!("{status}{printed}")),
            }
        }
        Ok(Err(error)) => Outcome::Failed(format!("{error}{printed}")),
        Err(_) => {
            group.signal(Signal::SIGTERM);
            let _ = timeout(TERM_GRACE, child.wait()).await;
            // Also where the program itself has gone: what it has started may be left. The group's number
            // is not used again while one of it lives; if none does, there is nobody to signal, except
            // within the moment since the last has gone.
            group.signal(Signal::SIGKILL);
            group.leave();
            let _ = child.wait().await;
            Outcome::Failed(format!("it took longer than {} s{printed}", limit.as_secs()))
        }
    }
}

/// A process group that is killed when this is dropped, unless it is left alone before.
struct Group(Option<Pid>);

impl Group {
    fn of(leader: Option<u32>) -> Self {
        Group(leader.and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw))
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // It may have gone.
            let _ = killpg(group, signal);
        }
    }

    fn leave(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

/// Reads to the end, and keeps the last bytes.
async fn keep_last(from: Option<impl AsyncRead + Unpin>, last: &mut Vec<u8>) {
    let Some(mut from) = from else { return };
    let mut piece = [0; OUTPUT_MAX];
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        last.extend_from_slice(&piece[..read]);
        let above = last.len().saturating_sub(OUTPUT_MAX);
        last.drain(..above);
    }
}

/// What was printed, for the log: in one line, without control characters.
fn printed(out: &[u8], err: &[u8]) -> String {
    let line = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        plain.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let all: Vec<String> = [line(err), line(out)].into_iter().filter(|it| !it.is_empty()).collect();
    if all.is_empty() { String::new() } else { format!(": {}", all.join(" | ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        ["sh", "-c", text].map(str::to_owned).to_vec()
    }

    const LONG: Duration = Duration::from_secs(30);

    #[actix_web::test]
    async fn it_gets_the_event_and_succeeds_with_zero() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("got").display().to_string();
        let input = "x".repeat(300_000);
        let script = format!("cat > {path}; echo $STAYD_X");
        assert_eq!(run(&words(&script), input.clone(), LONG).await, Outcome::Delivered);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), input);
        // It reads nothing.
        assert_eq!(run(&words("exit 0"), input, LONG).await, Outcome::Delivered);
    }

    #[actix_web::test]
    async fn a_failure_says_what_was_printed_last() {
        let script = "seq 9999; echo why >&2; exit 3";
        let Outcome::Failed(why) = run(&words(script), String::new(), LONG).await else {
            panic!("no failure")
        };
        assert!(why.contains("3") && why.contains(": why | ") && why.ends_with("9999"), "{why}");
        assert!(why.len() < OUTPUT_MAX + 100);
        let missing = run(&["/nowhere/x".to_owned()], String::new(), LONG).await;
        assert!(matches!(missing, Outcome::Failed(why) if why.starts_with("/nowhere/x: ")));
    }

    #[actix_web::test]
    async fn one_that_hangs_is_ended_with_all_that_it_has_started() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let script =
            format!("trap '' TERM; sleep 1000 & echo $! > {}; wait; sleep 1000", path.display());
        let outcome = run(&words(&script), String::new(), Duration::from_secs(1)).await;
        assert!(matches!(outcome, Outcome::Failed(why) if why.contains("longer than 1 s")));
        let pid: i32 = std::fs::read_to_string(&path).unwrap().trim().parse().unwrap();
        // It is a zombie, or nothing at all.
        let ended = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        };
        let start = std::time::Instant::now();
        while !ended() {
            assert!(start.elapsed() < LONG, "it lives");
            actix_web::rt::task::yield_now().await;
        }
    }

    #[actix_web::test]
    async fn what_it_leaves_in_the_background_is_not_waited_for() {
        let start = std::time::Instant::now();
        assert_eq!(run(&words("sleep 60 & exit 0"), String::new(), LONG).await, Outcome::Delivered);
        assert!(start.elapsed() < LONG);
    }
}
