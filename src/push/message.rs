//! What a browser is told of a session: the JSON that the page's service worker shows.

use serde_json::{Value, json};

/// The longest message, in bytes of JSON. Push services take 4 KiB of encrypted content.
const MESSAGE_MAX: usize = 3 << 10;
/// The longest name and text of a notification, in characters. Browsers show less.
const TITLE_MAX: usize = 100;
const BODY_MAX: usize = 500;

/// The message about a session, given by its JSON. `event` is `blocked`, `done` or `error`.
#[must_use]
pub fn message(event: &str, at: &str, session: &Value) -> String {
    let id = session["id"].as_str().unwrap_or_default();
    let said = plain(session["attention"]["message"].as_str().unwrap_or_default(), BODY_MAX);
    let body = match event {
        "blocked" if said.is_empty() => "It waits for you.".to_owned(),
        "blocked" => format!("It asks: {said}"),
        "done" if said.is_empty() => "It is done.".to_owned(),
        "done" => said,
        _ => end(session),
    };
    let message = |title: &str, body: &str| {
        json!({
            "event": event,
            "session": id,
            "at": at,
            "title": title,
            "body": body,
            "tag": format!("stayd-{id}"),
            // Below the page's address, whatever that is for the browser.
            "url": format!("#/s/{id}"),
        })
        .to_string()
    };
    let (title, mut body) = (title(session), body);
    let mut told = message(&title, &body);
    // Characters are counted above, and bytes here: some have four.
    while told.len() > MESSAGE_MAX {
        body = body.chars().take(body.chars().count() / 2).collect();
        told = message(&title, &body);
    }
    told
}

/// The session's name for people.
fn title(session: &Value) -> String {
    let name = plain(session["name"].as_str().unwrap_or_default(), TITLE_MAX);
    if !name.is_empty() {
        return name;
    }
    let program = session["command"][0].as_str().unwrap_or_default();
    let program = plain(program.rsplit('/').next().unwrap_or_default(), TITLE_MAX);
    if program.is_empty() { "A session".to_owned() } else { program }
}

fn end(session: &Value) -> String {
    match (session["exit_code"].as_i64(), session["exit_signal"].as_i64()) {
        (_, Some(signal)) => format!("It has ended by signal {signal}."),
        (Some(code), None) => format!("It has ended with code {code}."),
        (None, None) => "It has failed.".to_owned(),
    }
}

/// A text of others as a notification may show it: in one line, cut, without characters that act instead
/// of being read (control characters, and those that turn the direction of a text).
fn plain(text: &str, most: usize) -> String {
    let acts = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
    };
    let shown: String = text.chars().map(|c| if acts(c) { ' ' } else { c }).collect();
    let line = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told(event: &str, session: Value) -> Value {
        serde_json::from_str(&message(event, "2026", &session)).unwrap()
    }

    #[test]
    fn it_says_which_session_and_what() {
        let asks = json!({ "id": "4711", "name": "api", "attention": { "message": "May I?" } });
        let told_of = told("blocked", asks);
        assert_eq!(
            told_of,
            json!({ "event": "blocked", "session": "4711", "at": "2026", "title": "api",
                "body": "It asks: May I?", "tag": "stayd-4711", "url": "#/s/4711" })
        );
        let nameless = json!({ "id": "1", "command": ["/usr/bin/vim", "x"], "exit_code": 3 });
        let told_of = told("error", nameless);
        assert_eq!(
            (&told_of["title"], &told_of["body"]),
            (&json!("vim"), &json!("It has ended with code 3."))
        );
        assert_eq!(told("done", json!({}))["body"], "It is done.");
    }

    proptest! {
        #[test]
        fn it_is_never_long_and_nothing_in_it_acts(name in any::<String>(), text in any::<String>(), times in 1..2000usize) {
            let session = json!({ "id": "x", "name": name, "attention": { "message": text.repeat(times) } });
            let json = message("blocked", "2026", &session);
            prop_assert!(json.len() <= MESSAGE_MAX);
            let told: Value = serde_json::from_str(&json).unwrap();
            let all = format!("{}{}", told["title"].as_str().unwrap(), told["body"].as_str().unwrap());
            let acts = |c: char| c.is_control() || c == '\u{202e}';
            prop_assert!(!all.contains(acts));
        }
    }
}
