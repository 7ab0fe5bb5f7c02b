//! A screen as text, as text with colours, or as JSON.

use super::wanted::Format;
use crate::keeper::Look;
use crate::screen::{CursorShape, Modes, Mouse, MouseEncoding, Run};
use crate::session::Shot;
use serde_json::{Value, json};

pub(super) fn content_type(format: Format) -> &'static str {
    match format {
        Format::Text | Format::Ansi => "text/plain; charset=utf-8",
        Format::Json => "application/json",
    }
}

pub(super) fn body(format: Format, look: &Look<Shot>) -> String {
    match format {
        Format::Text => look.seen.view.text(),
        Format::Ansi => look.seen.view.ansi(),
        Format::Json => object(look).to_string(),
    }
}

/// The same as a member of a problem.
pub(super) fn member(format: Format, look: &Look<Shot>) -> Value {
    match format {
        Format::Text | Format::Ansi => body(format, look).into(),
        Format::Json => object(look),
    }
}

fn object(look: &Look<Shot>) -> Value {
    let Look { offset, seen: Shot { size, cursor, title, alternate, modes, view }, .. } = look;
    let lines: Vec<&[Run]> = view.lines.iter().map(|line| &line.runs[..]).collect();
    json!({
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
        "lines": lines,
        "scrollback": view.scrollback,
    })
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
