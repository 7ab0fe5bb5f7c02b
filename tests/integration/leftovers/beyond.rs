//! Of a terminal, what neither our emulator nor xterm.js has: keyboard protocols, colours'
//! stack, saved modes, and modes as mere numbers. Written from the documents of those who
//! made them: xterm's control sequences, kitty's keyboard protocol.

use regex::bytes::{Captures, Regex};
use std::collections::BTreeMap;

const ON_BY_DEFAULT: [u16; 6] = [2, 7, 8, 25, 1046, 1070];

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Beyond {
    /// Whether it has XTSAVE, and stacks of colours and titles.
    saves: bool,
    alternate: bool,
    /// Those that are not as by default.
    modes: BTreeMap<u16, bool>,
    saved: BTreeMap<u16, bool>,
    ansi: BTreeMap<u16, bool>,
    /// kitty's flags, on each screen; the last is the current one.
    keys: [Vec<u32>; 2],
    /// XTMODKEYS and XTFMTKEYS, on each screen.
    resources: [BTreeMap<(u8, u16), String>; 2],
    colours: BTreeMap<String, String>,
    stack: Vec<BTreeMap<String, String>>,
    title: String,
    titles: Vec<String>,
    lamps: bool,
    latin: bool,
    eight_bits: bool,
    texts: BTreeMap<u16, String>,
}

impl Beyond {
    pub(super) fn new(saves: bool) -> Self {
        Beyond { saves, keys: [vec![0], vec![0]], ..Beyond::default() }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        // CAN ends what was not finished, which the terminal gives up. So does ESC.
        let tokens = Regex::new(
            r"(?-u)\x1b\[([<-?]?)([0-9;:]*)([ -/]*)([@-~])|\x1b\]([0-9]*);?([^\x07\x18\x1b]*)(?:\x07|\x1b\\)|\x1b([ -/]*)([0-OQ-WYZ\\`-~])",
        )
        .expect("a pattern");
        for token in tokens.captures_iter(bytes) {
            let text = |at: usize| group(&token, at);
            if token.get(4).is_some() {
                let kind = format!("{}{}{}", text(1), text(3), text(4));
                let params: Vec<u16> = text(2).split(';').map(|n| n.parse().unwrap_or(0)).collect();
                self.csi(&kind, &params, text(2));
            } else if token.get(6).is_some() {
                self.osc(text(5), text(6));
            } else {
                self.esc(text(7), text(8));
            }
        }
        if !self.saves {
            (self.title, self.titles) = Default::default();
        }
        // Saved values have no effect of their own.
        self.saved.clear();
    }

    fn csi(&mut self, kind: &str, params: &[u16], text: &str) {
        let screen = usize::from(self.alternate);
        match kind {
            "?h" | "?l" => {
                for mode in params {
                    self.set(*mode, kind == "?h");
                }
            }
            "?s" if self.saves => {
                for mode in params {
                    self.saved.insert(*mode, self.is_set(*mode));
                }
            }
            "?r" if self.saves => {
                for mode in params {
                    if let Some(on) = self.saved.get(mode) {
                        self.set(*mode, *on);
                    }
                }
            }
            "h" | "l" => {
                for mode in params {
                    match (kind == "h") == (*mode == 12) {
                        true => self.ansi.remove(mode),
                        false => self.ansi.insert(*mode, kind == "h"),
                    };
                }
            }
            ">u" => self.keys[screen].push(params[0].into()),
            "<u" => {
                let keys = &mut self.keys[screen];
                keys.truncate(keys.len().saturating_sub(params[0].max(1).into()));
                if keys.is_empty() {
                    keys.push(0);
                }
            }
            "=u" => *self.keys[screen].last_mut().expect("one") = params[0].into(),
            ">m" | ">f" | ">n" => {
                let of = (kind.as_bytes()[1], params[0]);
                let resources = &mut self.resources[screen];
                match (kind, text.split_once(';')) {
                    (">n", _) => resources.insert((b'm', params[0]), "disabled".into()),
                    (_, Some((_, value))) => resources.insert(of, value.into()),
                    (_, None) => resources.remove(&of),
                };
            }
            "#P" if self.saves => self.stack.push(self.colours.clone()),
            "#Q" if self.saves => {
                if let Some(colours) = self.stack.pop() {
                    self.colours = colours;
                }
            }
            "t" if params[0] == 22 => self.titles.push(self.title.clone()),
            "t" if params[0] == 23 => {
                if let Some(title) = self.titles.pop() {
                    self.title = title;
                }
            }
            "q" => self.lamps = params[0] != 0,
            _ => {}
        }
    }

    fn is_set(&self, mode: u16) -> bool {
        self.modes.get(&mode).copied().unwrap_or(ON_BY_DEFAULT.contains(&mode))
    }

    fn set(&mut self, mode: u16, on: bool) {
        match mode {
            47 | 1047 | 1049 => self.alternate = on,
            // The emulators have it, and where it was saved.
            6 | 1048 => {}
            _ if on == ON_BY_DEFAULT.contains(&mode) => drop(self.modes.remove(&mode)),
            _ => drop(self.modes.insert(mode, on)),
        }
    }

    fn osc(&mut self, number: &str, data: &str) {
        match number.parse::<u16>().unwrap_or(0) {
            0 | 2 => self.title = data.into(),
            number @ (4 | 5) => {
                let mut words = data.split(';');
                while let (Some(index), Some(colour)) = (words.next(), words.next()) {
                    if colour != "?" {
                        self.colours.insert(format!("{number};{index}"), colour.into());
                    }
                }
            }
            number @ (104 | 105) => {
                let begin = format!("{};", number - 100);
                let chosen: Vec<_> = data
                    .split(';')
                    .filter(|index| !index.is_empty())
                    .map(|i| format!("{begin}{i}"))
                    .collect();
                self.colours.retain(|key, _| match chosen.is_empty() {
                    true => !key.starts_with(&begin),
                    false => !chosen.contains(key),
                });
            }
            number @ 10..=19 => {
                for (number, colour) in (number..20).zip(data.split(';')) {
                    if colour != "?" {
                        self.colours.insert(number.to_string(), colour.into());
                    }
                }
            }
            number @ 110..=119 => drop(self.colours.remove(&(number - 100).to_string())),
            number @ (7 | 22) if data.is_empty() => drop(self.texts.remove(&number)),
            number @ (7 | 22) => drop(self.texts.insert(number, data.into())),
            9 if data == "4;0" => drop(self.texts.remove(&9)),
            9 if data.starts_with("4;") => drop(self.texts.insert(9, data.into())),
            _ => {}
        }
    }

    fn esc(&mut self, between: &str, last: &str) {
        match (between, last) {
            ("", "c") => {
                *self = Beyond {
                    colours: std::mem::take(&mut self.colours),
                    stack: std::mem::take(&mut self.stack),
                    title: std::mem::take(&mut self.title),
                    titles: std::mem::take(&mut self.titles),
                    ..Beyond::new(self.saves)
                }
            }
            ("", "=") => self.set(66, true),
            ("", ">") => self.set(66, false),
            ("", "<") => self.set(2, true),
            ("%", "@") => self.latin = true,
            ("%", "G") => self.latin = false,
            (" ", "G") => self.eight_bits = true,
            (" ", "F") => self.eight_bits = false,
            _ => {}
        }
    }
}

fn group<'a>(token: &Captures<'a>, at: usize) -> &'a str {
    token.get(at).and_then(|found| std::str::from_utf8(found.as_bytes()).ok()).unwrap_or_default()
}
