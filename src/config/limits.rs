//! Limits of a profile's sessions: those of each process, and those of a whole session.

use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The least address space: a program with a few libraries needs tens of MiB before its first line.
const ADDRESS_SPACE_MIN: u64 = 64 << 20;
/// The fewest open files: a shell with a redirection has about as many.
const FILES_MIN: u64 = 16;
/// The period in which a session's share of the processors is counted, in microseconds; the
/// kernel's own default.
pub const CPU_PERIOD_US: u64 = 100_000;
/// The smallest share that the kernel takes, in microseconds of a period.
const CPU_MIN_US: u64 = 1_000;

/// The `limits` of a profile. What is not set is not limited further than the server is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Open files of a process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nofile: Option<u64>,
    /// Processes of the user, in all sessions and elsewhere. Nothing limits root's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nproc: Option<u64>,
    /// Address space of a process, in bytes.
    #[serde(
        default,
        rename = "as",
        deserialize_with = "bytes",
        skip_serializing_if = "Option::is_none"
    )]
    pub address_space: Option<u64>,
    /// Size of core files, in bytes.
    #[serde(default, deserialize_with = "bytes", skip_serializing_if = "Option::is_none")]
    pub core: Option<u64>,
    /// Memory of the whole session, in bytes.
    #[serde(default, deserialize_with = "bytes", skip_serializing_if = "Option::is_none")]
    pub memory_max: Option<u64>,
    /// Processes and threads of the whole session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids_max: Option<u64>,
    /// Processor time of the whole session, in microseconds of each [`CPU_PERIOD_US`].
    #[serde(default, deserialize_with = "cpus", skip_serializing_if = "Option::is_none")]
    pub cpu_max: Option<u64>,
}

impl Limits {
    /// The controllers of cgroup v2 that these limits need.
    #[must_use]
    pub fn controllers(&self) -> Vec<&'static str> {
        let needed = [
            ("memory", self.memory_max.is_some()),
            ("pids", self.pids_max.is_some()),
            ("cpu", self.cpu_max.is_some()),
        ];
        needed.into_iter().filter(|(_, needed)| *needed).map(|(name, _)| name).collect()
    }

    /// # Errors
    /// A limit with which no program could start, in words.
    pub(super) fn check(&self) -> Result<(), String> {
        for (name, limit, least) in [
            ("nofile", self.nofile, FILES_MIN),
            ("nproc", self.nproc, 1),
            ("as", self.address_space, ADDRESS_SPACE_MIN),
            ("memory_max", self.memory_max, 1 << 20),
            ("pids_max", self.pids_max, 1),
        ] {
            if let Some(limit) = limit.filter(|limit| *limit < least) {
                return Err(format!("{name} = {limit}: expected at least {least}"));
            }
        }
        Ok(())
    }
}

/// Reads a number of bytes: `1048576`, or `"512K"`, `"512M"`, `"2G"`.
fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    struct Bytes;

    impl Visitor<'_> for Bytes {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number of bytes, or one with a unit such as \"512M\" (K, M, G)")
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<u64, E> {
            u64::try_from(number)
                .map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(number), &self))
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
            let units = [("K", 10), ("M", 20), ("G", 30)];
            let unit =
                units.iter().find_map(|(unit, bits)| Some((text.strip_suffix(unit)?, *bits)));
            let (number, bits) = unit.unwrap_or((text, 0));
            let number = number.trim().parse::<u64>().ok();
            number
                .and_then(|number| number.checked_mul(1 << bits))
                .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
        }
    }

    deserializer.deserialize_any(Bytes).map(Some)
}

/// Reads a number of processors, `1.5`, or a percentage of one, `"150%"`.
fn cpus<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    struct Cpus;

    impl Visitor<'_> for Cpus {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(
                "a number of processors such as 1.5, or a percentage of one such as \"50%\"",
            )
        }

        fn visit_i64<E: Error>(self, cpus: i64) -> Result<u64, E> {
            self.visit_f64(cpus as f64)
        }

        fn visit_f64<E: Error>(self, cpus: f64) -> Result<u64, E> {
            let us = (cpus * CPU_PERIOD_US as f64).round();
            // Of more processors than any machine has, a limit would mean nothing.
            if us >= CPU_MIN_US as f64 && cpus <= 1e6 {
                Ok(us as u64)
            } else {
                Err(E::invalid_value(serde::de::Unexpected::Float(cpus), &self))
            }
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
            let percent =
                text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
            match percent {
                Some(percent) => self.visit_f64(percent / 100.0),
                None => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
            }
        }
    }

    deserializer.deserialize_any(Cpus).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(text: &str) -> Result<Limits, String> {
        let limits: Limits = toml::from_str(text).map_err(|error| error.to_string())?;
        limits.check().map(|()| limits)
    }

    #[test]
    fn sizes_have_units_and_processors_are_numbers_or_percent() {
        let all = limits(
            "nofile = 64\nas = \"2G\"\ncore = 0\nmemory_max = \"512M\"\npids_max = 100\ncpu_max = 1.5",
        )
        .unwrap();
        assert_eq!((all.nofile, all.address_space), (Some(64), Some(2 << 30)));
        assert_eq!((all.core, all.memory_max), (Some(0), Some(512 << 20)));
        assert_eq!((all.pids_max, all.cpu_max, all.nproc), (Some(100), Some(150_000), None));
        assert_eq!(all.controllers(), ["memory", "pids", "cpu"]);
        assert_eq!(limits("cpu_max = \"50%\"").unwrap().cpu_max, Some(50_000));
        assert_eq!(limits("cpu_max = 2").unwrap().cpu_max, Some(200_000));
        assert_eq!(limits("memory_max = 1048576").unwrap().memory_max, Some(1 << 20));
        assert!(limits("").unwrap().controllers().is_empty());
    }

    #[test]
    fn nonsense_is_refused_with_its_key() {
        for (text, named) in [
            ("nofile = 3", "nofile"),
            ("nproc = 0", "nproc"),
            ("as = 4096", "as = 4096"),
            ("memory_max = 1", "memory_max"),
            ("pids_max = 0", "pids_max"),
            ("memory_max = \"much\"", "512M"),
            ("memory_max = \"20000000000G\"", "512M"),
            ("core = -1", "bytes"),
            ("cpu_max = 0", "processors"),
            ("cpu_max = \"50\"", "processors"),
            ("cpu_max = -2", "processors"),
            ("cpu_max = nan", "processors"),
            ("files = 3", "nofile"),
        ] {
            let refused = limits(text).unwrap_err();
            assert!(refused.contains(named), "{text}: {refused}");
        }
    }
}
