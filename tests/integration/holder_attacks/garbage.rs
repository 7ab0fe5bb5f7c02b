//! Anything at all on its socket, with any descriptors beside it.

use super::house::House;
use super::random::Random;
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl};
use nix::sys::epoll::{Epoll, EpollCreateFlags};
use nix::sys::eventfd::EventFd;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use serde_json::{Value, json};
use stayd::holder::wire::{self, InputTail, Kind, MESSAGE_MAX};
use stayd::id::{ClientKey, SessionId};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// Messages of the run that is always made.
const MESSAGES: usize = 30_000;
/// Descriptors in one message at most (SCM_MAX_FD in the kernel).
const FDS_MAX: usize = 253;

#[test]
fn nothing_on_its_socket_harms_it() {
    let mut house = House::new();
    let witness = house.witness();
    let clean = house.server();
    let before = house.open_files();
    drop(clean);
    let mut fuzz = Fuzz::new(&house);
    let seconds = std::env::var("STAYD_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    while until.map_or(fuzz.sent < MESSAGES, |until| Instant::now() < until) {
        fuzz.connection(&house);
        house.assert_alive();
    }
    let stats = house.serve(async |holder| holder.stats().await.unwrap());
    eprintln!("{} messages in {} connections: {stats:?}", fuzz.sent, fuzz.connections);
    assert!(stats.malformed > fuzz.sent as u64 / 10);
    witness.goes_on();
    end_all_but(&house, witness.id);
    // Nothing is left of what was sent.
    let server = house.server();
    super::poll("the descriptors' end", || house.open_files() == before);
    drop(server);
    witness.check(&mut house);
}

/// Kills and forgets every other session.
fn end_all_but(house: &House, witness: SessionId) {
    house.serve(async |holder| {
        loop {
            let mut others = holder.adopt().await.unwrap();
            others.retain(|held| held.id != witness);
            if others.is_empty() {
                return;
            }
            for held in others {
                let _ = holder.signal(held.id, libc::SIGKILL).await;
                let _ = holder.forget(held.id).await;
            }
        }
    });
}

struct Fuzz {
    random: Random,
    victims: Vec<SessionId>,
    fds: Vec<OwnedFd>,
    sent: usize,
    connections: usize,
}

impl Fuzz {
    fn new(house: &House) -> Fuzz {
        let victims = (0..3).map(|_| house.spawn(&["cat"]).id).collect();
        Fuzz { random: Random::seeded(), victims, fds: all_kinds(), sent: 0, connections: 0 }
    }

    /// One peer from beginning to end.
    fn connection(&mut self, house: &House) {
        let mut peer = house.stranger();
        self.connections += 1;
        if !self.random.one_in(5) {
            peer.hello();
        }
        let reads = !self.random.one_in(4);
        for _ in 0..1 + self.random.below(600) {
            let message = self.message();
            let count = match self.random.below(60) {
                0 => FDS_MAX,
                1..10 => 1 + self.random.below(4),
                _ => 0,
            };
            let fds: Vec<RawFd> = (0..count)
                .map(|_| self.fds[self.random.below(self.fds.len())].as_raw_fd())
                .collect();
            let sent = if reads { peer.push(&message, &fds) } else { peer.send(&message, &fds) };
            self.sent += 1;
            // Closed by the holder, or it waits for us to read.
            if sent.is_err() {
                return;
            }
        }
    }

    fn message(&mut self) -> Vec<u8> {
        match self.random.below(16) {
            0 => {
                let length = self.random.below(300);
                self.random.bytes(length)
            }
            1..3 => self.header(),
            3..5 => {
                let (kind, json) = (self.random.pick(&KINDS), self.json(0));
                framed(kind, 7, &json.to_string(), &[])
            }
            5..10 => self.request(),
            10 => {
                let mut message = self.request();
                for _ in 0..1 + self.random.below(4) {
                    let at = self.random.below(message.len());
                    message[at] ^= 1 << self.random.below(8);
                }
                message
            }
            11 => {
                let mut message = self.request();
                message.truncate(self.random.below(message.len()));
                message
            }
            12 => {
                let mut message = self.request();
                message.resize(MESSAGE_MAX - 1 + self.random.below(70_000), b'x');
                message
            }
            13 => {
                // Deep enough to overflow the stack of a parser without a bound.
                let deep = "[".repeat(1 + self.random.below(30_000));
                framed(self.random.pick(&KINDS), 7, &deep, &[])
            }
            _ => self.input(),
        }
    }

    /// Any kind, any length, any bytes.
    fn header(&mut self) -> Vec<u8> {
        let length = self.random.below(200);
        let mut message = self.random.bytes(8 + length);
        if self.random.one_in(2) {
            message[2..4].copy_from_slice(&(length as u16).to_le_bytes());
        }
        message
    }

    fn input(&mut self) -> Vec<u8> {
        let length = self.random.below(wire::INPUT_CHUNK + 2_000);
        let bytes = self.random.bytes(length);
        let offset = self.number();
        let key = match self.random.below(3) {
            0 => ClientKey::anonymous(),
            1 => ClientKey::named("fuzz", &self.random.below(200).to_string()),
            _ => ClientKey::from_bytes([self.random.next() as u8; 16]),
        };
        InputTail { id: self.id(), key, offset, bytes: &bytes }.encode(Kind::Input)
    }

    /// A request that is right but for what it says.
    fn request(&mut self) -> Vec<u8> {
        let mut json = json!({ "id": self.id() });
        for (field, values) in [
            ("cols", [0, 1, 80, 65_535, 65_536, u64::MAX]),
            ("rows", [0, 1, 24, 65_535, 65_536, u64::MAX]),
            ("ring_capacity", [0, 3, 128 << 10, 256 << 10, 1 << 62, u64::MAX]),
            ("signal", [0, 28, 64, 65, 1 << 31, u64::MAX]),
            ("major", [0, 1, 1, 1, 2, u64::MAX]),
        ] {
            if !self.random.one_in(8) {
                json[field] = self.random.pick(&values).into();
            }
        }
        match self.random.below(12) {
            0 => json["id"] = self.json(2),
            1 => json["after"] = self.json(2),
            2 => json["cols"] = self.json(2),
            3 => json["signal"] = (-1).into(),
            4 => json = Value::Null,
            _ => {}
        }
        let tail = match self.random.below(6) {
            0 => self.random.bytes(stayd::holder::BLOB_MAX + 1),
            1 => self.random.bytes(100),
            _ => Vec::new(),
        };
        let kind = self.random.pick(&KINDS);
        let request = self.random.pick(&[0, 1, 7, u32::MAX]);
        framed(kind, request, &json.to_string(), &tail)
    }

    /// A victim's, or nobody's.
    fn id(&mut self) -> SessionId {
        if self.random.one_in(4) { SessionId::generate() } else { self.random.pick(&self.victims) }
    }

    fn number(&mut self) -> u64 {
        let any = self.random.next();
        self.random.pick(&[0, 1, 100, 1 << 32, u64::MAX - 1, u64::MAX, any])
    }

    fn json(&mut self, depth: usize) -> Value {
        match self.random.below(if depth > 3 { 6 } else { 8 }) {
            0 => Value::Null,
            1 => self.random.one_in(2).into(),
            2 => self.number().into(),
            3 => f64::from_bits(self.random.next()).into(),
            4 => "\u{0}é\u{1f600}\"\\".repeat(self.random.below(20)).into(),
            5 => self.id().to_string().into(),
            6 => (0..self.random.below(5)).map(|_| self.json(depth + 1)).collect(),
            _ => {
                let names = ["id", "cols", "rows", "after", "signal", "major", "", "code"];
                let mut map = serde_json::Map::new();
                for _ in 0..self.random.below(5) {
                    map.insert(self.random.pick(&names).to_owned(), self.json(depth + 1));
                }
                map.into()
            }
        }
    }
}

/// All that there are, and some that there are not.
const KINDS: [u8; 22] =
    [0, 1, 2, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 11, 12, 0x3f, 0x40, 0x41, 0x43, 0x80, 0xff];

fn framed(kind: u8, request: u32, json: &str, tail: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, 0];
    message.extend_from_slice(&(json.len() as u16).to_le_bytes());
    message.extend_from_slice(&request.to_le_bytes());
    message.extend_from_slice(json.as_bytes());
    message.extend_from_slice(tail);
    message
}

/// Descriptors of every kind; some are specifications, good and bad.
fn all_kinds() -> Vec<OwnedFd> {
    let (socket, other) =
        socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC).unwrap();
    let (pipe, end) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
    let mut all = vec![
        File::open("/").unwrap().into(),
        File::open("/dev/null").unwrap().into(),
        File::open("/dev/zero").unwrap().into(),
        File::open("/proc/self/mem").unwrap().into(),
        socket,
        other,
        pipe,
        end,
        EventFd::new().unwrap().into(),
        Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap().0,
        memfd_create(c"unsealed", MFdFlags::MFD_CLOEXEC).unwrap(),
    ];
    let words: Vec<String> = (0..100_000).map(|n| n.to_string()).collect();
    for spec in [
        json!({ "argv": ["true"], "cwd": "/" }),
        json!({ "argv": ["cat"], "cwd": "/", "env": [["PATH", "/bin:/usr/bin"]] }),
        json!({ "argv": [], "cwd": "/" }),
        json!({ "argv": words, "cwd": "/" }),
        json!({ "argv": ["true"], "cwd": "not/absolute" }),
        json!({ "argv": ["true"], "cwd": "" }),
        json!({ "argv": ["true"], "cwd": "/\u{0}" }),
        json!({ "argv": ["a\u{0}b"], "cwd": "/" }),
        json!({ "argv": ["env"], "cwd": "/", "env": [["A\u{0}", "=\u{0}"]] }),
        json!({ "argv": ["env"], "cwd": "/", "env": [["=", "="], ["", ""], ["A=B", "C=D"]] }),
        json!({ "argv": ["x".repeat(300_000)], "cwd": "/" }),
        json!({ "argv": 7 }),
        json!([]),
    ] {
        all.push(sealed(spec.to_string().as_bytes()));
    }
    all.push(sealed(b"\xff\xfe{"));
    all.push(sealed(b""));
    all
}

/// A memfd that will stay as it is.
pub(super) fn sealed(bytes: &[u8]) -> OwnedFd {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut file = File::from(memfd_create(c"spec", flags).unwrap());
    file.write_all(bytes).unwrap();
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).unwrap();
    file.into()
}
