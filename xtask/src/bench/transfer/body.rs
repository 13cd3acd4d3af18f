//! Bodies that are sent straight from memory, and multipart/related (RFC 2387) made of them.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::studies::Instance;

/// Between the parts.
pub(super) const BOUNDARY: &str = "cargo-xtask-bench-transfer";

/// A body in pieces, none of which is copied.
#[derive(Default)]
pub(super) struct Pieces {
    left: VecDeque<Bytes>,
}

impl Pieces {
    /// The instances as parts of type `application/dicom`.
    pub(super) fn multipart<'a>(instances: impl IntoIterator<Item = &'a Instance>) -> Self {
        let head = Bytes::from(format!("--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n"));
        let mut left = VecDeque::new();
        for instance in instances {
            left.extend([head.clone(), instance.file.clone(), Bytes::from_static(b"\r\n")]);
        }
        left.push_back(Bytes::from(format!("--{BOUNDARY}--\r\n")));
        Self { left }
    }

    /// One piece.
    pub(super) fn of(text: String) -> Self {
        Self { left: VecDeque::from([text.into()]) }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.left.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.iter().map(|piece| piece.len() as u64).sum())
    }
}

/// Counts the parts of a multipart body that arrives in chunks cut anywhere.
pub(super) struct Parts {
    delimiter: memchr::memmem::Finder<'static>,
    /// The last bytes, too few for a delimiter.
    tail: Vec<u8>,
    pub(super) count: usize,
}

impl Parts {
    pub(super) fn new(boundary: &str) -> Self {
        let delimiter = memchr::memmem::Finder::new(&format!("--{boundary}\r\n")).into_owned();
        Self { delimiter, tail: Vec::new(), count: 0 }
    }

    pub(super) fn feed(&mut self, chunk: &[u8]) {
        let short = self.delimiter.needle().len() - 1;
        // Neither the tail nor the head of the chunk is long enough alone: what is found lies across the cut.
        self.tail.extend_from_slice(chunk.get(..short).unwrap_or(chunk));
        self.count += self.delimiter.find_iter(&self.tail).count() + self.delimiter.find_iter(chunk).count();
        match chunk.len().checked_sub(short) {
            Some(at) => self.tail = chunk.get(at..).unwrap_or_default().to_vec(),
            None => drop(self.tail.drain(..self.tail.len().saturating_sub(short))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_counted_however_they_are_cut() {
        let body = b"--b-1\r\nhead\r\n\r\none\r\n--b-1\r\nhead\r\n\r\n--b-2\r\n--b-1--\r\n".repeat(3);
        for size in 1..body.len() {
            let mut parts = Parts::new("b-1");
            body.chunks(size).for_each(|chunk| parts.feed(chunk));
            assert_eq!(parts.count, 6, "chunks of {size}");
        }
    }
}
