//! OSC: titles, links, colours, and reports of programs.

use crate::event::{COMMAND_MAX, Event};
use crate::palette::{self, Special};
use crate::terminal::{Link, Terminal};

/// The longest title, in bytes: it is in every snapshot, up to eleven times.
pub const TITLE_MAX: usize = 4096;
/// The longest link, in bytes, id included; longer ones are ignored. Other terminals accept some
/// two thousand. A program can fill this much memory for each link that is kept at once, and each
/// change between two links in a snapshot takes this much.
const LINK_MAX: usize = 4096;
/// The longest notification or path that is passed on, in bytes.
pub const TEXT_MAX: usize = 4096;

impl Terminal {
    pub(super) fn operating_command(&mut self, number: u32, data: &str) {
        match number {
            0 | 2 => self.set_title(data),
            4 => self.indexed_colours(data),
            7 => self.directory(data),
            8 => self.link(data),
            9 => self.notification_9(data),
            10 => self.special_colours(data, 0),
            11 => self.special_colours(data, 1),
            12 => self.special_colours(data, 2),
            99 => self.notification_99(data),
            104 if data.is_empty() => self.palette.indexed.clear(),
            104 => {
                for index in data.split(';').filter_map(index) {
                    self.palette.indexed.remove(&index);
                }
            }
            110 => self.palette.set_special(Special::Foreground, None),
            111 => self.palette.set_special(Special::Background, None),
            112 => self.palette.set_special(Special::Cursor, None),
            133 => self.shell_mark(data),
            777 => {
                if let Some(rest) = data.strip_prefix("notify;") {
                    let (title, body) = rest.split_once(';').unwrap_or((rest, ""));
                    self.notify(Some(title), body);
                }
            }
            _ => {}
        }
    }

    pub(super) fn set_title(&mut self, title: &str) {
        self.title = short(title, TITLE_MAX).to_owned();
        self.events.push(Event::Title(Some(self.title.clone()).filter(|title| !title.is_empty())));
    }

    fn indexed_colours(&mut self, data: &str) {
        let mut parts = data.split(';');
        while let (Some(which), Some(colour)) = (parts.next(), parts.next()) {
            let Some(which) = index(which) else { continue };
            if colour == "?" {
                let colour = palette::format(self.palette.answer(which));
                self.reply(format!("\x1b]4;{which};{colour}\x1b\\"));
            } else if let Some(colour) = palette::parse(colour) {
                self.palette.indexed.insert(which, colour);
            }
        }
    }

    fn special_colours(&mut self, data: &str, first: usize) {
        for (which, colour) in (first..3).zip(data.split(';')) {
            let special = Special::ALL[which];
            if colour == "?" {
                let colour = palette::format(self.palette.answer_special(special));
                self.reply(format!("\x1b]{};{colour}\x1b\\", 10 + which));
            } else if let Some(colour) = palette::parse(colour) {
                self.palette.set_special(special, Some(colour));
            }
        }
    }

    /// OSC 8: `params;uri`; an empty uri ends the link.
    fn link(&mut self, data: &str) {
        let Some((params, uri)) = data.split_once(';') else { return };
        let params = params.trim();
        if uri.is_empty() && !params.is_empty() {
            return;
        }
        self.pen.ext.link = 0;
        if !uri.is_empty() && data.len() <= LINK_MAX {
            let id = params
                .split(':')
                .find_map(|param| param.strip_prefix("id="))
                .filter(|id| !id.is_empty());
            let serial = if id.is_some() {
                0
            } else {
                self.link_serial = self.link_serial.wrapping_add(1);
                self.link_serial
            };
            let link = Link { id: id.map(Into::into), uri: uri.into(), serial };
            self.pen.ext.link = self.links.number(&link).unwrap_or(0);
        }
        self.pen.mark_extended();
        self.pen_changed();
    }

    /// OSC 9: a message, unless it is one of ConEmu's numbered commands (`4;…` is progress).
    fn notification_9(&mut self, data: &str) {
        let command = data.split(';').next().unwrap_or("");
        if command.is_empty()
            || (command.len() <= 2
                && command.bytes().all(|byte| byte.is_ascii_digit())
                && data != command)
        {
            return;
        }
        self.notify(None, data);
    }

    /// OSC 99 (kitty): `key=value:…;text`, where `p` is the meaning of the text.
    fn notification_99(&mut self, data: &str) {
        let Some((keys, text)) = data.split_once(';') else { return };
        let value =
            |key: &str| keys.split(':').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
        // Encoded text would have to be decoded; no notification is better than an unreadable one.
        if value("e") == Some("1") {
            return;
        }
        match value("p").unwrap_or("title") {
            "title" | "body" => self.notify(None, text),
            _ => {}
        }
    }

    fn notify(&mut self, title: Option<&str>, body: &str) {
        let title =
            title.filter(|title| !title.is_empty()).map(|title| short(title, TEXT_MAX).to_owned());
        self.events.push(Event::Notification { title, body: short(body, TEXT_MAX).to_owned() });
    }

    /// OSC 133: marks by which a shell says where prompts and commands begin and end.
    fn shell_mark(&mut self, data: &str) {
        let mut parts = data.split(';');
        match parts.next() {
            Some("A") => self.events.push(Event::Prompt),
            Some("C") => {
                let command = parts.find_map(|part| part.strip_prefix("cmdline_url="));
                let command = command.and_then(decoded).filter(|command| !command.is_empty());
                let command = command.map(|command| short(&command, COMMAND_MAX).to_owned());
                self.events.push(Event::CommandStart { command });
            }
            Some("D") => {
                let exit = parts.next().and_then(|code| code.parse().ok());
                self.events.push(Event::CommandEnd { exit });
            }
            _ => {}
        }
    }

    /// OSC 7: `file://host/path`, the path percent-encoded.
    fn directory(&mut self, data: &str) {
        let Some(rest) = data.strip_prefix("file://") else { return };
        let Some(path) = rest.find('/').map(|at| &rest[at..]) else { return };
        if let Some(path) = decoded(path)
            && path.len() <= TEXT_MAX
        {
            self.events.push(Event::Cwd(path));
        }
    }
}

/// Percent-encoded text; `None` if it is not UTF-8.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        let encoded = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match encoded.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(value) if *byte == b'%' => {
                bytes.push(value);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

/// A palette index: digits only.
fn index(text: &str) -> Option<u8> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// The first whole characters of `text`, up to `max` bytes.
fn short(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}
