//! A case: output with resizes, and moments at which somebody looks. Playing it takes the
//! snapshots that are compared with xterm.js; shrinking finds the least of it that still differs.

use super::generate::Random;
use super::xterm::{Answer, Cut, Played, boundary, compare_quietly, kind};
use stayd::screen::{Options, Screen};

/// What happens to a terminal, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// The program prints.
    Output(Vec<u8>),
    /// Columns and rows.
    Resize(u16, u16),
    /// A client attaches, and the server's screen is folded into its snapshot and unfolded.
    Cut,
}

#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// Columns and rows at the beginning.
    pub(crate) cols: u16,
    pub(crate) rows: u16,
    /// Lines.
    pub(crate) scrollback: usize,
    pub(crate) steps: Vec<Step>,
    /// A restored screen must write itself down as the first did.
    pub(crate) exact: bool,
}

impl Case {
    /// A stream with resizes (offset, columns, rows) and cuts (offsets), both in order. What has
    /// the same offset as a cut comes before it.
    pub(crate) fn new(
        name: String,
        (cols, rows): (u16, u16),
        scrollback: usize,
        stream: &[u8],
        resizes: &[(usize, u16, u16)],
        cuts: &[usize],
    ) -> Case {
        let mut steps = Vec::new();
        let mut at = 0;
        let mut advance = |steps: &mut Vec<Step>, to: usize| {
            if to > at {
                steps.push(Step::Output(stream[at..to].to_vec()));
                at = to;
            }
        };
        let mut resizes = resizes.iter().peekable();
        for &cut in cuts {
            while let Some(&(when, cols, rows)) = resizes.next_if(|(when, ..)| *when <= cut) {
                advance(&mut steps, when);
                steps.push(Step::Resize(cols, rows));
            }
            advance(&mut steps, cut);
            steps.push(Step::Cut);
        }
        for &(when, cols, rows) in resizes {
            advance(&mut steps, when);
            steps.push(Step::Resize(cols, rows));
        }
        advance(&mut steps, stream.len());
        Case { name, cols, rows, scrollback, steps, exact: false }
    }

    /// Recorded output with resizes at random places.
    pub(crate) fn with_resizes(
        random: &mut Random,
        name: String,
        size: (u16, u16),
        scrollback: usize,
        stream: &[u8],
        (resizes, cuts): (usize, usize),
    ) -> Case {
        // A resize lies between whole characters; a cut does not have to.
        let mut resizes: Vec<_> = super::xterm::random_cuts(random, stream.len(), resizes)
            .into_iter()
            .map(|at| {
                let (cols, rows) = (20 + random.below(120) as u16, 5 + random.below(50) as u16);
                (boundary(stream, at), cols, rows)
            })
            .collect();
        resizes.dedup_by_key(|resize| resize.0);
        let cuts = super::xterm::random_cuts(random, stream.len(), cuts);
        Case::new(name, size, scrollback, stream, &resizes, &cuts)
    }

    /// Plays it to two screens, one of which is folded and unfolded at each cut.
    pub(crate) fn play(self) -> Played {
        let options = Options { scrollback: self.scrollback };
        let mut screen = Screen::new(self.cols, self.rows, options);
        let mut folded = Screen::new(self.cols, self.rows, options);
        let (mut stream, mut resizes, mut cuts) = (Vec::new(), Vec::new(), Vec::new());
        let take = |screen: &Screen| screen.snapshot(usize::MAX, usize::MAX);
        for step in self.steps {
            match step {
                Step::Output(bytes) => {
                    screen.feed(&bytes, &mut Vec::new());
                    folded.feed(&bytes, &mut Vec::new());
                    stream.extend(bytes);
                }
                Step::Resize(cols, rows) => {
                    screen.resize(cols, rows);
                    folded.resize(cols, rows);
                    resizes.push((stream.len(), cols, rows));
                }
                Step::Cut => {
                    let mut snapshot = take(&screen);
                    let (cols, rows) = screen.size();
                    if self.exact {
                        let again = Screen::restore(cols, rows, options, &snapshot.bytes);
                        assert!(
                            take(&again).bytes == snapshot.bytes,
                            "{} at {}: a restored screen writes itself down differently",
                            self.name,
                            stream.len()
                        );
                    }
                    folded = Screen::restore(cols, rows, options, &take(&folded).bytes);
                    // xterm.js loses some characters that come in two writes.
                    snapshot.bytes.truncate(snapshot.bytes.len() - snapshot.partial);
                    let at = stream.len() - snapshot.partial;
                    // Then the resize would have to come before the cut and after it.
                    if resizes.last().is_none_or(|last: &(usize, u16, u16)| last.0 <= at) {
                        let resized = resizes.len();
                        let snapshot = snapshot.bytes;
                        cuts.push(Cut { at, resized, cols, rows, snapshot, by: "late" });
                    }
                }
            }
        }
        for (by, screen) in [("fed", screen), ("folded", folded)] {
            let mut snapshot = take(&screen);
            snapshot.bytes.truncate(snapshot.bytes.len() - snapshot.partial);
            let (cols, rows) = screen.size();
            let (at, resized) = (stream.len() - snapshot.partial, resizes.len());
            if resizes.last().is_none_or(|last| last.0 <= at) {
                cuts.push(Cut { at, resized, cols, rows, snapshot: snapshot.bytes, by });
            }
        }
        Played {
            name: self.name,
            cols: self.cols,
            rows: self.rows,
            scrollback: self.scrollback,
            stream,
            resizes,
            cuts,
        }
    }

    /// The least of it that differs in the same way.
    pub(crate) fn shrunk(mut self, answer: &Answer) -> Case {
        let wanted = kind(answer);
        self.exact = false;
        let name = self.name.clone();
        let still = |candidates: &mut Vec<Case>| {
            for (n, case) in candidates.iter_mut().enumerate() {
                case.name = format!("{name}.{n}");
            }
            let answers = compare_quietly(candidates.iter().cloned().map(Case::play).collect());
            let differs = |case: &&mut Case| {
                let mut answers = answers[&case.name].iter();
                answers.any(|answer| answer.differs() && kind(answer) == wanted)
            };
            candidates.iter_mut().find(differs).cloned()
        };
        if let Some(at) = answer.cut {
            self = still(&mut vec![self.until(at), self.cut_once(at)]).unwrap_or(self);
        }
        let mut chunk = self.steps.len().div_ceil(2);
        loop {
            let candidates = self.without(chunk);
            let smaller = candidates.chunks(16).find_map(|batch| still(&mut batch.to_vec()));
            match smaller {
                Some(smaller) => self = smaller,
                None if chunk == 0 => return Case { name, ..self },
                None => chunk /= 2,
            }
            chunk = chunk.min(self.steps.len());
        }
    }

    /// The same without the other cuts.
    fn cut_once(&self, at: usize) -> Case {
        self.with_cuts(|offset| (at..at + 4).contains(&offset))
    }

    /// The same without the cuts at which the reader had to be given something, so that the screen
    /// which was folded at the others can be compared; none if nothing was given.
    pub(crate) fn foldable(&self, answers: &[Answer]) -> Option<Case> {
        let given = answers.iter().filter(|answer| !answer.adopted.is_empty());
        let given: Vec<usize> = given.filter_map(|answer| answer.cut).collect();
        let is_given = |offset| given.iter().any(|at| (*at..at + 4).contains(&offset));
        (!given.is_empty()).then(|| self.with_cuts(|offset| !is_given(offset)))
    }

    fn with_cuts(&self, keep: impl Fn(usize) -> bool) -> Case {
        let mut seen = 0;
        let mut steps = self.steps.clone();
        steps.retain(|step| {
            if let Step::Output(bytes) = step {
                seen += bytes.len();
            }
            *step != Step::Cut || keep(seen)
        });
        Case { steps, ..self.clone() }
    }

    /// The same without the other cuts and without what comes later.
    fn until(&self, at: usize) -> Case {
        let mut case = self.cut_once(at);
        if let Some(last) = case.steps.iter().position(|step| *step == Step::Cut) {
            case.steps.truncate(last + 1);
        }
        case
    }

    /// The same without some of the steps, so many in a row; for 0 without single bytes, or on a
    /// smaller screen.
    fn without(&self, chunk: usize) -> Vec<Case> {
        let with = |steps: Vec<Step>| Case { steps, ..self.clone() };
        if chunk > 0 {
            let ends = (0..self.steps.len()).step_by(chunk).map(|start| (start, start + chunk));
            let without = |(start, end): (usize, usize)| {
                [&self.steps[..start], &self.steps[end.min(self.steps.len())..]].concat()
            };
            return ends.map(|range| with(without(range))).collect();
        }
        let mut cases = Vec::new();
        let (cols, rows) = (self.cols, self.rows);
        for (cols, rows) in [(cols / 2, rows), (cols, rows / 2), (cols - 1, rows), (cols, rows - 1)]
        {
            if cols >= 2 && rows >= 1 {
                cases.push(Case { cols, rows, ..self.clone() });
            }
        }
        for (at, step) in self.steps.iter().enumerate() {
            let Step::Output(bytes) = step else { continue };
            for byte in 0..bytes.len() {
                let mut steps = self.steps.clone();
                steps[at] = Step::Output([&bytes[..byte], &bytes[byte + 1..]].concat());
                cases.push(with(steps));
            }
        }
        cases
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}, scrollback {}:", self.cols, self.rows, self.scrollback)?;
        for step in &self.steps {
            match step {
                Step::Output(bytes) => write!(f, " \"{}\"", bytes.escape_ascii())?,
                Step::Resize(cols, rows) => write!(f, " {cols}x{rows}")?,
                Step::Cut => write!(f, " CUT")?,
            }
        }
        Ok(())
    }
}
