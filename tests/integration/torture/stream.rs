//! The numbered, checksummed stream: what a program prints, and what anybody can say it
//! has to be from an offset alone.
//!
//! Line `n` is `"{n:010} {payload} {sum:08x}\n"`. The payload depends on `n % PERIOD`, and
//! so does its length, so that lines fall on no boundary twice.

use std::fmt::Write;

/// Lines until lengths and payloads begin again.
const PERIOD: u64 = 61;
/// Bytes of a line beside its payload: number, two spaces, sum, newline.
const FRAME: u64 = 10 + 1 + 1 + 8 + 1;
/// Lines made at once.
const LINES: u64 = 256;

/// Waits for a line of input, then prints lines until its input says `stop`, and then how
/// many there were.
pub(super) const PRINTER: &str = r#"
sub out { my $at = 0; while ($at < length $_[0]) {
    my $n = syswrite(STDOUT, $_[0], length($_[0]) - $at, $at); defined $n or die; $at += $n } }
my @text = map { my $k = $_; join "", map { chr(33 + ($k*7 + $_*11) % 90) } 0..(19 + $k*37 % 150) } 0..60;
my @sum = map { unpack "%32C*", " $_" } @text;
my ($n, $in) = (0, "");
sysread(STDIN, $in, 64);
while (1) {
    my $block = "";
    for (1..400) {
        my ($k, $number) = ($n % 61, sprintf "%010d", $n);
        $block .= sprintf "%s %s %08x\n", $number, $text[$k],
            (unpack("%32C*", $number) + $sum[$k] + $n * 40503) & 0xffffffff;
        $n++;
    }
    out($block);
    vec(my $ready = "", 0, 1) = 1;
    if (select($ready, undef, undef, 0)) { sysread(STDIN, $in, 64, length $in); last if $in =~ /stop/ }
}
out("END $n\n");
"#;

/// Prints [`BLOCK`] lines for each line of input, until one says `stop`, and then how many there were.
pub(super) const PACED: &str = r#"
sub out { my $at = 0; while ($at < length $_[0]) {
    my $n = syswrite(STDOUT, $_[0], length($_[0]) - $at, $at); defined $n or die; $at += $n } }
my @text = map { my $k = $_; join "", map { chr(33 + ($k*7 + $_*11) % 90) } 0..(19 + $k*37 % 150) } 0..60;
my @sum = map { unpack "%32C*", " $_" } @text;
my ($n, $in, $stop) = (0, "", 0);
while (!$stop && sysread(STDIN, $in, 4096, length $in)) {
    while ($in =~ s/^([^\n]*)\n//) {
        if ($1 eq "stop") { $stop = 1; last }
        my $block = "";
        for (1..400) {
            my ($k, $number) = ($n % 61, sprintf "%010d", $n);
            $block .= sprintf "%s %s %08x\n", $number, $text[$k],
                (unpack("%32C*", $number) + $sum[$k] + $n * 40503) & 0xffffffff;
            $n++;
        }
        out($block);
    }
}
out("END $n\n");
"#;
/// Lines that it prints at a time: some 46 KiB.
pub(super) const BLOCK: u64 = 400;

/// Gives back what is typed until a NUL is, and then says how much there was.
pub(super) const ECHO: &str = r#"
sub out { my $at = 0; while ($at < length $_[0]) {
    my $n = syswrite(STDOUT, $_[0], length($_[0]) - $at, $at); defined $n or die; $at += $n } }
my ($count, $end) = (0, 0);
out("ready\n");
while (!$end && sysread(STDIN, my $in, 4096)) {
    $end = $in =~ s/\0$//;
    $count += length $in;
    out($in);
}
out("END $count\n");
"#;

/// A command that runs such a program on a terminal that changes nothing.
pub(super) fn raw(program: &str) -> serde_json::Value {
    serde_json::json!(["sh", "-c", "stty raw -echo && exec perl -e \"$1\"", "sh", program])
}

fn payload(n: u64) -> impl Iterator<Item = u8> {
    let k = n % PERIOD;
    (0..payload_length(k)).map(move |j| 33 + ((k * 7 + j * 11) % 90) as u8)
}

fn payload_length(n: u64) -> u64 {
    20 + (n % PERIOD) * 37 % 150
}

/// The line that the byte at `offset` belongs to, and how many of the line are before it.
pub(super) fn locate(offset: u64) -> (u64, u64) {
    let length = |n: u64| FRAME + payload_length(n);
    let period: u64 = (0..PERIOD).map(length).sum();
    let (mut line, mut skip) = (offset / period * PERIOD, offset % period);
    while skip >= length(line) {
        skip -= length(line);
        line += 1;
    }
    (line, skip)
}

/// The stream from some offset on, made as it is asked for.
pub(super) struct Stream {
    payloads: Vec<(Vec<u8>, u32)>,
    /// The next line to be made.
    line: u64,
    made: Vec<u8>,
    /// Bytes of `made` that were taken.
    taken: usize,
    offset: u64,
}

impl Stream {
    pub(super) fn new() -> Self {
        let sum = |bytes: &[u8]| bytes.iter().map(|&byte| u32::from(byte)).sum::<u32>();
        let payloads = (0..PERIOD).map(|n| {
            let bytes = Vec::from_iter(payload(n));
            let sum = sum(&bytes) + u32::from(b' ');
            (bytes, sum)
        });
        Stream { payloads: payloads.collect(), line: 0, made: Vec::new(), taken: 0, offset: 0 }
    }

    /// Offset of the next byte.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Goes on at `offset`.
    pub(super) fn seek(&mut self, offset: u64) {
        let (line, skip) = locate(offset);
        self.line = line;
        self.made.clear();
        self.make();
        (self.taken, self.offset) = (skip as usize, offset);
    }

    /// The next bytes, at most `length` of them, at least one.
    pub(super) fn take(&mut self, length: usize) -> &[u8] {
        if self.taken == self.made.len() {
            self.made.clear();
            self.taken = 0;
            self.make();
        }
        let from = self.taken;
        self.taken = self.made.len().min(from + length);
        self.offset += (self.taken - from) as u64;
        &self.made[from..self.taken]
    }

    /// Whether the stream goes on like this; goes on as far as it does.
    pub(super) fn matches(&mut self, mut bytes: &[u8]) -> Result<(), Difference> {
        while !bytes.is_empty() {
            let at = self.offset;
            let expected = self.take(bytes.len());
            let (now, later) = bytes.split_at(expected.len());
            if now != expected {
                let same = now.iter().zip(expected).take_while(|(a, b)| a == b).count();
                let expected = expected[same..].to_vec();
                self.seek(at + same as u64);
                return Err(Difference {
                    offset: at + same as u64,
                    same,
                    now: bytes.len(),
                    expected,
                });
            }
            bytes = later;
        }
        Ok(())
    }

    fn make(&mut self) {
        let mut number = String::with_capacity(10);
        for n in self.line..self.line + LINES {
            let (payload, sum) = &self.payloads[(n % PERIOD) as usize];
            number.clear();
            write!(number, "{n:010}").expect("a String");
            let digits: u32 = number.bytes().map(u32::from).sum();
            let sum = u64::from(digits + sum).wrapping_add(n.wrapping_mul(40503)) as u32;
            self.made.extend_from_slice(number.as_bytes());
            self.made.push(b' ');
            self.made.extend_from_slice(payload);
            number.clear();
            writeln!(number, " {sum:08x}").expect("a String");
            self.made.extend_from_slice(number.as_bytes());
        }
        self.line += LINES;
    }
}

/// Where what came is not what was to come.
#[derive(Debug)]
pub(super) struct Difference {
    /// Of the first other byte.
    pub(super) offset: u64,
    same: usize,
    now: usize,
    expected: Vec<u8>,
}

impl Difference {
    /// The other bytes, of those that were compared.
    pub(super) fn rest<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let left = self.now - self.same;
        &bytes[bytes.len() - left..]
    }

    /// For people: what came instead, and of which line it is.
    pub(super) fn explain(&self, bytes: &[u8]) -> String {
        let rest = self.rest(bytes);
        let text =
            |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(400)]).into_owned();
        format!(
            "at offset {} came {:?}, but {:?} was to come",
            self.offset,
            text(rest),
            text(&self.expected)
        )
    }
}

#[test]
fn the_stream_is_the_same_from_anywhere() {
    let mut whole = Stream::new();
    let mut bytes = Vec::new();
    while bytes.len() < 200_000 {
        let part = whole.take(777).to_vec();
        bytes.extend(part);
    }
    assert!(bytes.starts_with(b"0000000000 !,7BMXcny*5@KVa"), "{:?}", &bytes[..40]);
    for offset in (0..150_000).step_by(4099) {
        let mut part = Stream::new();
        part.seek(offset);
        part.matches(&bytes[offset as usize..]).unwrap();
    }
    let first = bytes.iter().position(|&byte| byte == b'\n').unwrap() as u64 + 1;
    assert_eq!(locate(first), (1, 0));
    assert_eq!(locate(first - 1), (0, first - 1));
    // A byte lost, doubled or changed is seen.
    for other in
        [&bytes[1..], &[&bytes[..1], &bytes[..]].concat(), &[b"0000000001", &bytes[10..]].concat()]
    {
        let mut stream = Stream::new();
        assert!(stream.matches(other).is_err());
    }
}
