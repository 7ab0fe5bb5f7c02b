//! asciicast v2, read with as little knowledge of it as possible.

use crate::support::Server;
use serde_json::Value;

/// A recording, with its times checked.
pub(crate) struct Cast {
    pub(crate) header: Value,
    /// Seconds, code, data.
    pub(crate) events: Vec<(f64, String, String)>,
}

impl Cast {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let text = std::str::from_utf8(bytes).expect("UTF-8");
        assert!(text.ends_with('\n'), "a torn line: {:?}", text.lines().last());
        let mut lines = text.lines();
        let header: Value = serde_json::from_str(lines.next().expect("a header")).expect("JSON");
        assert_eq!(header["version"], 2);
        assert!(header["timestamp"].is_i64());
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        let events: Vec<(f64, String, String)> = lines.map(parse).collect();
        assert!(events.is_sorted_by(|(a, ..), (b, ..)| a <= b), "times go back");
        Cast { header, events }
    }

    /// All data of this kind.
    pub(crate) fn text(&self, code: &str) -> String {
        let of_it = self.events.iter().filter(|(_, found, _)| found == code);
        of_it.map(|(_, _, data)| data.as_str()).collect()
    }
}

pub(crate) async fn recording(server: &Server, id: &str) -> Cast {
    let reply = server.api().get(&format!("/api/v1/sessions/{id}/recording")).await;
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.bytes));
    Cast::parse(&reply.bytes)
}
