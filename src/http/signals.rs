//! The names of signals in requests: `INT`, `SIGINT`, `RTMIN+1`, or the number.

use super::problem::Problem;
use nix::sys::signal::Signal;
use serde::Deserialize;

/// Linux numbers its signals from 1 to this (signal(7)).
const LAST: i32 = 64;

/// A signal as a request names it.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Named {
    Number(i64),
    Name(String),
}

impl Named {
    /// The number, or what is wrong with the name.
    pub(super) fn number(&self) -> Result<i32, Problem> {
        let (number, asked) = match self {
            Named::Number(number) => (i32::try_from(*number).ok(), number.to_string()),
            Named::Name(name) => (parse(name), format!("{name:?}")),
        };
        number.filter(|number| (1..=LAST).contains(number)).ok_or_else(|| {
            Problem::invalid(format!(
                "no signal {asked}; try INT, TERM, HUP, RTMIN+1 … or a number from 1 to {LAST}"
            ))
        })
    }
}

fn parse(name: &str) -> Option<i32> {
    let name = name.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let real_time = [("RTMIN", libc::SIGRTMIN()), ("RTMAX", libc::SIGRTMAX())];
    for (word, base) in real_time {
        let Some(rest) = name.strip_prefix(word) else { continue };
        let distance = match rest {
            "" => 0,
            // The parser of integers would accept a sign, too.
            _ if !rest.starts_with(['+', '-']) => return None,
            _ => rest.parse().ok()?,
        };
        let number = base.checked_add(distance)?;
        return (libc::SIGRTMIN()..=libc::SIGRTMAX()).contains(&number).then_some(number);
    }
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        return name.parse().ok();
    }
    format!("SIG{name}").parse::<Signal>().ok().map(|signal| signal as i32)
}

/// The name of a signal, without `SIG`.
pub(super) fn name_of(number: i32) -> String {
    if let Ok(signal) = Signal::try_from(number) {
        return signal.as_str().trim_start_matches("SIG").to_owned();
    }
    match number - libc::SIGRTMIN() {
        0 => "RTMIN".to_owned(),
        above @ 1.. => format!("RTMIN+{above}"),
        // The C library uses these itself.
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        let named = |name: &str| Named::Name(name.to_owned()).number().ok();
        for (name, number) in [("INT", 2), ("sigterm", 15), ("15", 15), ("rtmin", 34)] {
            assert_eq!(named(name), Some(number), "{name}");
        }
        assert_eq!(
            (named("SIGRTMIN+1"), named("RTMAX-1"), named("RTMAX")),
            (Some(35), Some(63), Some(64))
        );
        let none =
            ["", "RTMIN+31", "RTMIN-1", "RTMAX+1", "RTMIN1", "RTMIN+", "65", "0", "-1", "+9", "X"];
        for name in none {
            assert_eq!(named(name), None, "{name}");
        }
        for number in 1..=LAST {
            assert_eq!(named(&name_of(number)), Some(number));
            assert_eq!(Named::Number(number.into()).number().ok(), Some(number));
        }
        assert!(Named::Number(0).number().is_err() && Named::Number(1 << 40).number().is_err());
    }
}
