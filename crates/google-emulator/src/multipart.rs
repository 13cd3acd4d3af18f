//! A multipart body taken apart while it arrives (RFC 2046 section 5.1.1), never holding more than one chunk of it, nor copying
//! any but those that end in the middle of a boundary or header.

use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt};
use memchr::memmem::Finder;

/// The longest header of a part, in bytes.
const LONGEST_HEADER: usize = 16 * 1024;

/// What a multipart body consists of, in order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A part begins: its header fields, names in lower case.
    Begin(Vec<(String, String)>),
    /// Bytes of the part that began last.
    Data(Bytes),
    /// The part is complete.
    End,
}

/// What is wrong with a multipart body.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Malformed {
    #[error("the multipart body ends before its closing boundary")]
    Truncated,
    #[error("the body of the request could not be read")]
    Broken,
    #[error("a part of the multipart body has no valid header")]
    Header,
    #[error("a boundary of the multipart body is followed by something else than a line's end")]
    Boundary,
}

/// Cuts a stream of bytes at its boundary.
pub(crate) struct Cutter<S> {
    body: S,
    buffer: Bytes,
    /// CRLF, two hyphens, and the boundary itself.
    delimiter: Finder<'static>,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    Preamble,
    Header,
    Data,
    /// The delimiter after a part has been met, its line's end not yet.
    Delimited,
    Finished,
}

impl<S, E> Cutter<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    pub(crate) fn new(body: S, boundary: &str) -> Self {
        let delimiter = format!("\r\n--{boundary}");
        // The first delimiter may stand at the very beginning, without a line's end before it.
        let buffer = Bytes::from_static(b"\r\n");
        Self {
            body,
            buffer,
            delimiter: Finder::new(delimiter.as_bytes()).into_owned(),
            state: State::Preamble,
        }
    }

    /// The next piece; `None` after the closing boundary. What follows that is read and ignored, as RFC 2046 says.
    pub(crate) async fn next(&mut self) -> Result<Option<Piece>, Malformed> {
        loop {
            match self.state {
                State::Preamble => {
                    if let Some(position) = self.delimiter.find(&self.buffer) {
                        self.buffer.advance(position + self.delimiter.needle().len());
                        self.state = State::Delimited;
                    } else {
                        self.buffer.advance(self.certain());
                        self.more().await?;
                    }
                }
                State::Delimited => {
                    while self.buffer.len() < 2 {
                        self.more().await?;
                    }
                    if self.buffer.starts_with(b"--") {
                        while let Some(Ok(_)) = self.body.next().await {}
                        self.state = State::Finished;
                    } else {
                        self.end_line().await?;
                        self.state = State::Header;
                    }
                }
                State::Header => {
                    let fields = self.header().await?;
                    self.state = State::Data;
                    return Ok(Some(Piece::Begin(fields)));
                }
                State::Data => {
                    if let Some(position) = self.delimiter.find(&self.buffer) {
                        if position > 0 {
                            return Ok(Some(Piece::Data(self.buffer.split_to(position))));
                        }
                        self.buffer.advance(self.delimiter.needle().len());
                        self.state = State::Delimited;
                        return Ok(Some(Piece::End));
                    }
                    let certain = self.certain();
                    if certain > 0 {
                        return Ok(Some(Piece::Data(self.buffer.split_to(certain))));
                    }
                    self.more().await?;
                }
                State::Finished => return Ok(None),
            }
        }
    }

    /// How many bytes of the buffer, which holds no delimiter, are not the beginning of one.
    fn certain(&self) -> usize {
        let delimiter = self.delimiter.needle();
        let from = self.buffer.len().saturating_sub(delimiter.len() - 1);
        let tail = self.buffer.get(from..).unwrap_or_default();
        let begins = |at: &usize| delimiter.starts_with(tail.get(*at..).unwrap_or_default());
        memchr::memchr_iter(b'\r', tail).find(begins).map_or(self.buffer.len(), |at| from + at)
    }

    /// White space after a boundary is allowed (RFC 2046: transport padding), then the line ends.
    async fn end_line(&mut self) -> Result<(), Malformed> {
        loop {
            while self.buffer.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
                self.buffer.advance(1);
            }
            if self.buffer.starts_with(b"\r\n") {
                // One line's end stays: an empty header is recognised by two of them.
                return Ok(());
            }
            if self.buffer.len() >= 2 {
                return Err(Malformed::Boundary);
            }
            self.more().await?;
        }
    }

    async fn header(&mut self) -> Result<Vec<(String, String)>, Malformed> {
        let end = loop {
            if let Some(end) = memchr::memmem::find(&self.buffer, b"\r\n\r\n") {
                break end;
            }
            if self.buffer.len() > LONGEST_HEADER {
                return Err(Malformed::Header);
            }
            self.more().await?;
        };
        let header = self.buffer.split_to(end);
        self.buffer.advance(4);
        let text = std::str::from_utf8(&header).map_err(|_| Malformed::Header)?;
        let lines = text.split("\r\n").filter(|line| !line.is_empty());
        let field = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        };
        lines.map(|line| field(line).ok_or(Malformed::Header)).collect()
    }

    async fn more(&mut self) -> Result<(), Malformed> {
        match self.body.next().await {
            Some(Ok(chunk)) if self.buffer.is_empty() => self.buffer = chunk,
            Some(Ok(chunk)) => self.buffer = [self.buffer.as_ref(), &chunk].concat().into(),
            Some(Err(_)) => return Err(Malformed::Broken),
            None => return Err(Malformed::Truncated),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{FutureExt, stream};

    type Parts = Vec<(Vec<(String, String)>, Vec<u8>)>;

    fn cut(body: &[u8], chunk: usize) -> Result<Parts, Malformed> {
        let chunks: Vec<Result<Bytes, ()>> =
            body.chunks(chunk).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
        let mut cutter = Cutter::new(stream::iter(chunks), "B");
        let (mut parts, mut ended) = (Parts::new(), 0);
        while let Some(piece) = cutter.next().now_or_never().unwrap()? {
            match piece {
                Piece::Begin(fields) => parts.push((fields, Vec::new())),
                Piece::Data(bytes) => parts.last_mut().unwrap().1.extend_from_slice(&bytes),
                Piece::End => ended += 1,
            }
        }
        assert_eq!(ended, parts.len());
        Ok(parts)
    }

    #[test]
    fn any_chunking_gives_the_same_parts() {
        let body = b"preamble\r\n--B\r\nContent-Type: application/dicom\r\nX: y\r\n\r\none\r\n--A\r\n\r\n--B \r\n\r\n\r\n--B--\r\nepilogue";
        let whole = cut(body, body.len()).unwrap();
        assert_eq!(whole.len(), 2);
        assert_eq!(whole[0].0[0], ("content-type".to_owned(), "application/dicom".to_owned()));
        assert_eq!(whole[0].1, b"one\r\n--A\r\n");
        assert_eq!(whole[1], (vec![], vec![]));
        for chunk in 1..body.len() {
            assert_eq!(cut(body, chunk).unwrap(), whole, "chunks of {chunk}");
        }
    }

    #[test]
    fn what_is_not_multipart_is_refused() {
        for (body, expected) in [
            (&b""[..], Malformed::Truncated),
            (b"--B\r\n\r\ndata\r", Malformed::Truncated),
            (b"no boundary", Malformed::Truncated),
            (b"--B\r\n\r\ndata", Malformed::Truncated),
            (b"--B\r\n\r\ndata\r\n--B", Malformed::Truncated),
            (b"--B\r\nno colon\r\n\r\ndata\r\n--B--", Malformed::Header),
            (b"--Bx\r\n\r\ndata\r\n--B--", Malformed::Boundary),
        ] {
            for chunk in [1, 7, 100] {
                assert_eq!(cut(body, chunk), Err(expected), "{:?}", String::from_utf8_lossy(body));
            }
        }
    }
}
