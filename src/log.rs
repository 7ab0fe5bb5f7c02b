//! The server's log: structured records to standard error, written by a thread of their
//! own so that a slow terminal never holds up a session.

use crate::config::{LogFormat, LogLevel};
use crate::protocol::rfc3339;
use chrono::Utc;
use slog::{Drain, FnValue, Level, LevelFilter, Logger, PushFnValue, Record, o};
use slog_async::{Async, AsyncGuard, OverflowStrategy};
use slog_term::{FullFormat, PlainDecorator, TermDecorator};
use std::io::{self, BufWriter, IsTerminal, Write};

/// Records that may wait for standard error. Further ones are dropped and counted in the log,
/// because a reader of the log that hangs must not block the server.
const QUEUE: usize = 16 << 10;

/// Writes the queued records when it is dropped. Keep it until the process ends.
#[must_use = "records that are still queued are lost without it"]
pub struct Guard {
    // Nobody reads it; its drop writes the queue.
    _queue: AsyncGuard,
}

/// A logger to standard error: coloured on a terminal (unless `NO_COLOR` is set), plain
/// text elsewhere, one JSON object a line when asked for.
pub fn logger(format: LogFormat, level: LogLevel) -> (Logger, Guard) {
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    match format {
        LogFormat::Json => queued(level, json(io::stderr())),
        LogFormat::Text if colour => {
            let decorator = TermDecorator::new().stderr().force_color().build();
            queued(level, text(decorator))
        }
        LogFormat::Text => queued(level, text(PlainDecorator::new(BufWriter::new(io::stderr())))),
    }
}

/// A logger without a queue, for the last record of a process that aborts: queued records would be
/// lost.
pub fn unqueued(format: LogFormat) -> Logger {
    match format {
        LogFormat::Json => Logger::root(json(io::stderr()).fuse(), o!()),
        LogFormat::Text => {
            let drain = text(PlainDecorator::new(BufWriter::new(io::stderr())));
            Logger::root(std::sync::Mutex::new(drain).ignore_res().fuse(), o!())
        }
    }
}

/// Puts the queue and its thread before a drain.
fn queued<D>(level: LogLevel, drain: D) -> (Logger, Guard)
where
    D: Drain<Err = slog::Never, Ok = ()> + Send + 'static,
{
    let (queue, guard) = Async::new(drain)
        .chan_size(QUEUE)
        .overflow_strategy(OverflowStrategy::DropAndReport)
        .thread_name("log".into())
        .build_with_guard();
    let drain = LevelFilter::new(queue, Level::from(level)).fuse();
    (Logger::root(drain, o!()), Guard { _queue: guard })
}

/// Writes lines for people. A line that cannot be written is lost, because there is nowhere to
/// report it.
fn text<D>(decorator: D) -> impl Drain<Err = slog::Never, Ok = ()> + Send
where
    D: slog_term::Decorator + Send + 'static,
{
    FullFormat::new(decorator)
        .use_custom_timestamp(|out: &mut dyn Write| write!(out, "{}", rfc3339(Utc::now())))
        .use_original_order()
        .build()
        .ignore_res()
}

/// Writes one JSON object a line, each in one write.
fn json<W: Write + Send + 'static>(out: W) -> impl Drain<Err = slog::Never, Ok = ()> + Send {
    let drain = slog_json::Json::new(BufWriter::new(out))
        .set_flush(true)
        .add_key_value(o!(
            "ts" => FnValue(|_: &Record<'_>| rfc3339(Utc::now())),
            "level" => FnValue(|record: &Record<'_>| record.level().as_str().to_lowercase()),
            "msg" => PushFnValue(|record: &Record<'_>, out| out.emit(record.msg())),
        ))
        .build();
    std::sync::Mutex::new(drain).ignore_res()
}

#[cfg(test)]
mod tests {
    use super::*;
    use slog::{debug, info};
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn json_is_one_object_a_line_and_the_guard_flushes() {
        let sink = Sink::default();
        let (log, guard) = queued(LogLevel::Info, json(sink.clone()));
        info!(log, "session \"a\" changed"; "from" => "ACTIVE", "connections" => 2);
        debug!(log, "too fine");
        drop(guard);
        let written = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        let line: serde_json::Value = serde_json::from_str(&written).unwrap();
        assert_eq!(line["msg"], "session \"a\" changed");
        assert_eq!(line["level"], "info");
        assert_eq!(line["from"], "ACTIVE");
        assert_eq!(line["connections"], 2);
        assert!(line["ts"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn text_keeps_the_order_of_the_keys() {
        let sink = Sink::default();
        let decorator = PlainDecorator::new(BufWriter::new(sink.clone()));
        let (log, guard) = queued(LogLevel::Debug, text(decorator));
        debug!(log, "transition"; "from" => "RUNNING", "to" => "ACTIVE");
        drop(guard);
        let written = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert!(written.contains("DEBG transition, from: RUNNING, to: ACTIVE"), "{written}");
    }
}
