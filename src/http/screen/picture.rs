//! Renders a screen as text, as text with colours, or as JSON.

use super::wanted::Format;
use crate::http::problem::Problem;
use crate::http::shots::Shot;
use crate::screen::{CursorShape, Modes, Mouse, MouseEncoding};
use crate::screens::Inspection;
use actix_web::web::Bytes;
use serde_json::{Value, json};

pub(super) fn content_type(format: Format) -> &'static str {
    match format {
        Format::Text | Format::Ansi => "text/plain; charset=utf-8",
        Format::Json => "application/json",
    }
}

/// The length at which a piece ends, in bytes, so that a large screen takes no more memory than its
/// cells and one piece.
const PIECE: usize = 64 << 10;

/// An answer in pieces.
pub(super) struct Pieces {
    format: Format,
    /// Whether the text goes into a JSON string, without its quotation marks.
    quoted: bool,
    inspection: Inspection<Shot>,
    /// The next line to render.
    next: usize,
    /// Text before the lines, empty once it is sent, and text behind them.
    before: Option<String>,
    after: &'static str,
}

impl Pieces {
    pub(super) fn of(format: Format, inspection: Inspection<Shot>) -> Self {
        let (before, after) = match format {
            Format::Text | Format::Ansi => (String::new(), ""),
            Format::Json => (beginning(&inspection), "]}"),
        };
        Pieces { format, quoted: false, inspection, next: 0, before: Some(before), after }
    }

    /// The screen as the member `screen` of a problem.
    pub(super) fn member_of(
        problem: &Problem,
        format: Format,
        inspection: Inspection<Shot>,
    ) -> Self {
        let mut before = problem.body();
        // Removes the closing brace: the object goes on.
        before.pop();
        before.push_str(",\"screen\":");
        let after = match format {
            Format::Text | Format::Ansi => {
                before.push('"');
                "\"}"
            }
            Format::Json => {
                before.push_str(&beginning(&inspection));
                "]}}"
            }
        };
        Pieces { format, quoted: true, inspection, next: 0, before: Some(before), after }
    }

    /// Appends the next line.
    fn tell(&mut self, out: &mut String) {
        let (view, number) = (&self.inspection.seen.view, self.next);
        self.next += 1;
        let text = match self.format {
            Format::Text => view.text_of(number),
            Format::Ansi => view.ansi_of(number),
            Format::Json => {
                out.push_str(if number > 0 { "," } else { "" });
                return out.push_str(&json!(view.line(number).runs).to_string());
            }
        };
        if self.quoted {
            let string = Value::from(text).to_string();
            out.push_str(&string[1..string.len() - 1]);
        } else {
            out.push_str(&text);
        }
    }
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let count = self.inspection.seen.view.len();
        if self.next > count {
            return None;
        }
        let mut piece = self.before.take().unwrap_or_default();
        while piece.len() < PIECE {
            if self.next == count {
                self.next += 1;
                piece.push_str(self.after);
                break;
            }
            self.tell(&mut piece);
        }
        Some(piece.into())
    }
}

/// The screen as an object, up to its lines.
fn beginning(inspection: &Inspection<Shot>) -> String {
    let Inspection {
        offset, seen: Shot { size, cursor, title, alternate, modes, view, .. }, ..
    } = inspection;
    let object = json!({
        "offset": offset,
        "cols": size.0,
        "rows": size.1,
        "cursor": {
            "x": cursor.x,
            "y": cursor.y,
            "visible": modes.cursor_visible,
            "style": match modes.cursor_shape {
                CursorShape::Default => "default",
                CursorShape::Block => "block",
                CursorShape::Underline => "underline",
                CursorShape::Bar => "bar",
            },
        },
        "title": title,
        "alternate": alternate,
        "modes": self::modes(modes),
        "scrollback": view.scrollback(),
    });
    let mut text = object.to_string();
    // Its last brace, and no other.
    text.pop();
    text.push_str(",\"lines\":[");
    text
}

fn modes(modes: &Modes) -> Value {
    json!({
        "application_cursor": modes.application_cursor,
        "application_keypad": modes.application_keypad,
        "autowrap": modes.autowrap,
        "bracketed_paste": modes.bracketed_paste,
        "focus": modes.focus,
        "insert": modes.insert,
        "linefeed": modes.linefeed,
        "mouse": match modes.mouse {
            Mouse::Off => "off",
            Mouse::X10 => "x10",
            Mouse::Buttons => "buttons",
            Mouse::Drag => "drag",
            Mouse::Motion => "motion",
        },
        "mouse_encoding": match modes.mouse_encoding {
            MouseEncoding::Bytes => "bytes",
            MouseEncoding::Sgr => "sgr",
            MouseEncoding::SgrPixels => "sgr_pixels",
        },
        "origin": modes.origin,
        "reverse_wrap": modes.reverse_wrap,
        "synchronized": modes.synchronized,
    })
}
