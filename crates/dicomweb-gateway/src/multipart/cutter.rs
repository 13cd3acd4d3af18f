//! A multipart body taken apart while it arrives.

use std::{collections::VecDeque, fmt};

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use memchr::{memchr, memmem::Finder};

use super::header::{Header, LONGEST_HEADER};

/// What may stand before the first delimiter, in bytes: nobody sends any, and what has none is no multipart body.
pub(super) const LONGEST_PREAMBLE: usize = 8 * 1024;
/// White space between a delimiter and its line's end, in bytes. RFC 2046 lets gateways pad a line; none pads more than a line.
pub(super) const LONGEST_PADDING: usize = 256;
/// How much of the next chunk is copied where something may stand astride two chunks, in bytes.
const JOINED: usize = 512;

/// What a multipart body consists of, in order: for each part [`Part`](Event::Part), any number of [`Data`](Event::Data),
/// and [`EndOfPart`](Event::EndOfPart); then [`End`](Event::End).
#[derive(Clone, PartialEq, Eq)]
pub enum Event {
    /// A part begins: its header fields.
    Part(HeaderMap),
    /// Bytes of the part that began last: a slice of what came in, never empty.
    Data(Bytes),
    /// The part is complete.
    EndOfPart,
    /// The closing delimiter was seen. What follows it is dropped.
    End,
}

/// Without the data, which is a patient's.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Part(fields) => write!(f, "Part({} header fields)", fields.len()),
            Self::Data(data) => write!(f, "Data({} bytes)", data.len()),
            Self::EndOfPart => f.write_str("EndOfPart"),
            Self::End => f.write_str("End"),
        }
    }
}

/// What is wrong with a multipart body.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Malformed {
    /// The first 8 KiB have no delimiter.
    #[error(
        "the multipart body does not begin with its boundary: is the boundary in Content-Type the one that is used?"
    )]
    NoDelimiter,
    /// A part's header is longer than 16 KiB, or has more than 64 fields.
    #[error("the header of a part of the multipart body is too long")]
    HeaderTooLong,
    /// A line of a part's header is no header field.
    #[error("a part of the multipart body has a malformed header")]
    HeaderField,
    /// The body has ended, but its closing delimiter has not come.
    #[error("the multipart body ends before its closing boundary")]
    Truncated,
}

/// Cuts a multipart body at its delimiters, whatever the chunks it comes in.
///
/// No data is copied, but for up to half a kilobyte where the end of a chunk may be the beginning of a delimiter. What
/// [`next`](Self::next) holds back is bounded by a delimiter with its padding, or a part's header.
///
/// A delimiter is CRLF, `--`, the boundary, perhaps white space, and a line's end or `--`. With other bytes after it, it is data.
/// A bare line feed ends a line of a header; before a delimiter it counts only where the first delimiter's line ends so too, as
/// data may well end in one.
#[derive(Debug)]
pub struct Cutter {
    /// A line's end, two hyphens, and the boundary.
    delimiter: Finder<'static>,
    /// What came in and was not looked at.
    queue: VecDeque<Bytes>,
    /// What is looked at.
    window: Bytes,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Before the first delimiter.
    Preamble {
        skipped: usize,
        at_line_start: bool,
    },
    Header(Header),
    /// Behind a header: the empty line that ends it may belong to a delimiter.
    Begun,
    Data,
    /// The closing delimiter was seen, but not told.
    Closed,
    End,
    Broken(Malformed),
}

/// What to do next.
enum Step {
    Tell(Event),
    Again,
    More,
}

impl Cutter {
    /// `boundary` as [`boundary_of`](super::boundary_of) gives it: of any length, without line ends.
    pub fn new(boundary: &[u8]) -> Self {
        let delimiter = [b"\r\n--", boundary].concat();
        Self {
            delimiter: Finder::new(&delimiter).into_owned(),
            queue: VecDeque::new(),
            window: Bytes::new(),
            state: State::Preamble { skipped: 0, at_line_start: true },
        }
    }

    /// Takes the next bytes of the body. They are kept until [`next`](Self::next) has given them back.
    pub fn feed(&mut self, chunk: Bytes) {
        let over = matches!(self.state, State::End | State::Broken(_));
        if !over && !chunk.is_empty() {
            self.queue.push_back(chunk);
        }
    }

    /// The next event. `None`: feed more first; after [`Event::End`] nothing comes any more.
    ///
    /// # Errors
    /// [`Malformed`], from then on each time.
    #[expect(clippy::should_implement_trait, reason = "None is no end here: it asks for more input")]
    pub fn next(&mut self) -> Result<Option<Event>, Malformed> {
        loop {
            let step = match &mut self.state {
                State::Preamble { .. } => self.preamble(),
                State::Header(_) => self.header(),
                State::Begun => Ok(self.begun()),
                State::Data => Ok(self.data()),
                State::Closed => {
                    self.over(State::End);
                    Ok(Step::Tell(Event::End))
                }
                State::End => return Ok(None),
                State::Broken(malformed) => return Err(*malformed),
            };
            match step {
                Ok(Step::Tell(event)) => return Ok(Some(event)),
                Ok(Step::Again) => {}
                Ok(Step::More) if self.more() => {}
                Ok(Step::More) => return Ok(None),
                Err(malformed) => {
                    self.over(State::Broken(malformed));
                    return Err(malformed);
                }
            }
        }
    }

    /// The body has ended: was it complete? To be asked when [`next`](Self::next) has given `None`.
    ///
    /// # Errors
    /// What [`next`](Self::next) said, or [`Malformed::Truncated`] if the closing delimiter was not seen.
    pub fn finish(&self) -> Result<(), Malformed> {
        match self.state {
            State::End => Ok(()),
            State::Broken(malformed) => Err(malformed),
            _ => Err(Malformed::Truncated),
        }
    }

    /// How much was fed and not given back, in bytes.
    pub fn held(&self) -> usize {
        self.window.len() + self.queue.iter().map(Bytes::len).sum::<usize>()
    }

    /// Lets the window grow. False if there is nothing left to look at.
    fn more(&mut self) -> bool {
        let Some(mut next) = self.queue.pop_front() else { return false };
        if self.window.is_empty() {
            self.window = next;
            return true;
        }
        let joined = next.split_to(next.len().min(JOINED));
        if !next.is_empty() {
            self.queue.push_front(next);
        }
        // A window that was joined before is ours alone, and grows without being copied each time.
        let window = std::mem::take(&mut self.window);
        let mut window = window.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&*shared));
        window.extend_from_slice(&joined);
        self.window = window.freeze();
        true
    }

    fn over(&mut self, state: State) {
        self.state = state;
        self.window = Bytes::new();
        self.queue = VecDeque::new();
    }

    fn preamble(&mut self) -> Result<Step, Malformed> {
        let State::Preamble { mut skipped, at_line_start } = self.state else { return Ok(Step::Again) };
        if at_line_start {
            match Found::at(&self.window, self.dash_boundary()) {
                Found::Undecided => return Ok(Step::More),
                Found::Delimiter { length, bare } => {
                    if bare {
                        self.delimiter = Finder::new(&[b"\n", self.dash_boundary()].concat()).into_owned();
                    }
                    self.window.advance(length);
                    self.state = State::Header(Header::default());
                    return Ok(Step::Again);
                }
                Found::Closing => {
                    self.state = State::Closed;
                    return Ok(Step::Again);
                }
                Found::Data => {}
            }
        }
        if self.window.is_empty() {
            return Ok(Step::More);
        }
        let line = memchr(b'\n', &self.window).map(|end| end + 1);
        let dropped = line.unwrap_or(self.window.len());
        self.window.advance(dropped);
        skipped += dropped;
        if skipped > LONGEST_PREAMBLE {
            return Err(Malformed::NoDelimiter);
        }
        self.state = State::Preamble { skipped, at_line_start: line.is_some() };
        Ok(Step::Again)
    }

    fn header(&mut self) -> Result<Step, Malformed> {
        let State::Header(header) = &mut self.state else { return Ok(Step::Again) };
        let looked_at = self.window.len().min(LONGEST_HEADER);
        let Some(end) = self.window.get(..looked_at).and_then(|window| memchr(b'\n', window)) else {
            return if header.length() + looked_at > LONGEST_HEADER || looked_at == LONGEST_HEADER {
                Err(Malformed::HeaderTooLong)
            } else {
                Ok(Step::More)
            };
        };
        let line = self.window.split_to(end + 1);
        if let Some(fields) = header.line(&line)? {
            self.state = State::Begun;
            return Ok(Step::Tell(Event::Part(fields)));
        }
        Ok(Step::Again)
    }

    fn begun(&mut self) -> Step {
        let found = Found::at(&self.window, self.dash_boundary());
        match found {
            Found::Undecided => Step::More,
            Found::Data => {
                self.state = State::Data;
                Step::Again
            }
            Found::Delimiter { .. } | Found::Closing => self.end_of_part(&found),
        }
    }

    fn data(&mut self) -> Step {
        let Some(position) = self.delimiter.find(&self.window) else {
            return self.data_up_to(self.window.len() - self.possible_beginning());
        };
        let needle = self.delimiter.needle();
        let found = Found::at(self.window.get(position..).unwrap_or_default(), needle);
        match found {
            Found::Data => self.data_up_to(position + needle.len()),
            Found::Undecided => self.data_up_to(position),
            Found::Delimiter { .. } | Found::Closing if position > 0 => self.data_up_to(position),
            Found::Delimiter { .. } | Found::Closing => self.end_of_part(&found),
        }
    }

    fn data_up_to(&mut self, end: usize) -> Step {
        if end == 0 { Step::More } else { Step::Tell(Event::Data(self.window.split_to(end))) }
    }

    fn end_of_part(&mut self, found: &Found) -> Step {
        self.state = if let Found::Delimiter { length, .. } = found {
            self.window.advance(*length);
            State::Header(Header::default())
        } else {
            State::Closed
        };
        Step::Tell(Event::EndOfPart)
    }

    /// How many bytes at the end of the window may be the beginning of a delimiter.
    fn possible_beginning(&self) -> usize {
        let needle = self.delimiter.needle();
        let longest = self.window.len().min(needle.len() - 1);
        let tail = self.window.get(self.window.len() - longest..).unwrap_or_default();
        (0..longest)
            .find(|&skip| tail.get(skip..).is_some_and(|tail| needle.starts_with(tail)))
            .map_or(0, |skip| longest - skip)
    }

    /// The delimiter without the line's end before it.
    fn dash_boundary(&self) -> &[u8] {
        let needle = self.delimiter.needle();
        let dash = if needle.starts_with(b"\r") { 2 } else { 1 };
        needle.get(dash..).unwrap_or_default()
    }
}

/// What stands at the beginning of some bytes.
enum Found {
    /// A delimiter with its line's end: so many bytes; whether the line's end is a bare line feed.
    Delimiter {
        length: usize,
        bare: bool,
    },
    Closing,
    Data,
    /// More bytes are needed to tell.
    Undecided,
}

impl Found {
    fn at(bytes: &[u8], delimiter: &[u8]) -> Self {
        let Some(rest) = bytes.strip_prefix(delimiter) else {
            return if delimiter.starts_with(bytes) { Self::Undecided } else { Self::Data };
        };
        if rest.starts_with(b"--") {
            return Self::Closing;
        }
        let padding = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        if padding > LONGEST_PADDING {
            return Self::Data;
        }
        let length = delimiter.len() + padding;
        match rest.get(padding..).unwrap_or_default() {
            [b'\n', ..] => Self::Delimiter { length: length + 1, bare: true },
            [b'\r', b'\n', ..] => Self::Delimiter { length: length + 2, bare: false },
            [] | [b'\r'] => Self::Undecided,
            [b'-'] if padding == 0 => Self::Undecided,
            _ => Self::Data,
        }
    }
}

#[cfg(test)]
mod tests;
