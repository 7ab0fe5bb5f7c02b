//! How long a session stays, in words, for whoever leaves it or asks.

use crate::lifecycle::Status;
use crate::protocol::{IdleWhen, Session, span};
use chrono::{DateTime, Local, TimeDelta, Utc};

/// How long a session stays to which this many clients are attached, and how to keep it. `word` is
/// the argument that names it.
pub(super) fn stays(word: &str, session: &Session, attached: usize, now: DateTime<Utc>) -> String {
    let keep = format!("keep it: stayd keep {}", quoted(word));
    let (unless, and) = match session.idle_when {
        IdleWhen::Detached => ("somebody attaches", ""),
        IdleWhen::DetachedAndQuiet => {
            ("somebody attaches or its program works on", " and its program is quiet")
        }
    };
    let ends = |at| ends(at, now, unless, &keep);
    if let Some(at) = session.destroy_at {
        return ends(at);
    }
    let Some(seconds) = session.idle_timeout_s else {
        return "it stays until its program ends or somebody ends it".into();
    };
    let timeout = TimeDelta::seconds(i64::try_from(seconds).unwrap_or(i64::MAX / 1000));
    let after = format!("it ends {} after the last client has left{and}; {keep}", span(timeout));
    match attached {
        0 if session.status == Status::Running => after,
        // A time that no calendar has is as good as never.
        0 => now.checked_add_signed(timeout).map_or(after, ends),
        1 => format!("1 client is attached; {after}"),
        _ => format!("{attached} clients are attached; {after}"),
    }
}

fn ends(at: DateTime<Utc>, now: DateTime<Utc>, unless: &str, keep: &str) -> String {
    if at <= now {
        return "it ends now".into();
    }
    format!("it ends {} unless {unless}; {keep}", moment(at, now))
}

/// A moment of the near future: `at 14:32`, with the day if that is another one.
fn moment(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let (at, now) = (at.with_timezone(&Local), now.with_timezone(&Local));
    let format =
        if at.date_naive() == now.date_naive() { "at %H:%M" } else { "on %b %-d at %H:%M" };
    at.format(format).to_string()
}

/// A name as a shell takes it for one word.
fn quoted(name: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    if name.chars().all(is_plain) && !name.starts_with('-') {
        return name.to_owned();
    }
    let dashes = if name.starts_with('-') { "-- " } else { "" };
    format!("{dashes}'{}'", name.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples::session;

    #[test]
    fn who_leaves_is_told_until_when_it_stays_and_how_to_keep_it() {
        let now = Utc::now();
        let mut work = session("0190d3c0-a1b2-7000-8000-000000000001", Some("work"));
        work.status = Status::Active;
        let text = stays("work", &work, 0, now);
        assert!(text.starts_with("it ends "), "{text}");
        assert!(text.ends_with(" unless somebody attaches; keep it: stayd keep work"), "{text}");
        let at = (now + TimeDelta::seconds(1800)).with_timezone(&Local);
        assert!(text.contains(&at.format("at %H:%M").to_string()), "{text}");
        let text = stays("work", &work, 2, now);
        assert!(text.starts_with("2 clients are attached; it ends 30m after"), "{text}");
        work.status = Status::Running;
        assert!(
            stays("work", &work, 0, now).starts_with("it ends 30m after the last"),
            "not yet attached"
        );
        work.idle_when = IdleWhen::DetachedAndQuiet;
        let text = stays("work", &work, 0, now);
        assert!(text.starts_with("it ends 30m after the last client has left and its"), "{text}");
        work.status = Status::Active;
        let text = stays("work", &work, 0, now);
        assert!(text.contains(" unless somebody attaches or its program works on; "), "{text}");
        work.idle_when = IdleWhen::Detached;
        work.status = Status::Idle;
        work.idle_timeout_s = Some(0);
        assert_eq!(stays("work", &work, 0, now), "it ends now");
        work.idle_timeout_s = None;
        assert!(stays("work", &work, 0, now).contains("stays until"));
    }

    #[test]
    fn a_name_is_one_word_for_a_shell() {
        for (name, word) in [
            ("build-2.x", "build-2.x"),
            ("日本", "日本"),
            ("gpu-1/work", "gpu-1/work"),
            ("build 2", "'build 2'"),
            ("it's", r"'it'\''s'"),
            ("-x", "-- '-x'"),
        ] {
            assert_eq!(quoted(name), word);
        }
    }
}
