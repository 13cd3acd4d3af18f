//! What a request to Google carries, so that it can be sent again.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::task::JoinHandle;

/// How much of a file is read at once.
const BLOCK: usize = 256 << 10;

/// What a request carries.
pub(crate) enum Content {
    Empty,
    /// Pieces that stay, so that they can be sent any number of times.
    Pieces(Arc<[Piece]>),
    /// A stream that can be sent once; taken by the first attempt.
    Once(Mutex<Option<reqwest::Body>>),
    /// What gives a body whenever one is wanted.
    Of(Box<dyn Source>),
}

/// What a body can be had from more than once, though not all of it may be here yet.
pub(crate) trait Source: Send + Sync {
    /// The body, from its beginning.
    fn body(&self) -> reqwest::Body;

    /// Whether there could be another.
    fn is_repeatable(&self) -> bool;
}

/// A piece of a body.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Memory(Bytes),
    /// A file from its beginning, and its length.
    File(Arc<File>, u64),
}

impl Piece {
    /// Bytes.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(_, length) => *length,
        }
    }
}

impl Content {
    pub(crate) fn once(body: reqwest::Body) -> Self {
        Self::Once(Mutex::new(Some(body)))
    }

    /// Whether a second attempt could send the same.
    pub(crate) fn is_repeatable(&self) -> bool {
        match self {
            Self::Empty | Self::Pieces(_) => true,
            Self::Once(_) => false,
            Self::Of(source) => source.is_repeatable(),
        }
    }

    /// The body of the next attempt, which counts in `sent` the bytes that are taken out of it; `None` for no body.
    pub(crate) fn body(&self, sent: &Arc<AtomicU64>) -> Option<reqwest::Body> {
        match self {
            Self::Empty => None,
            Self::Pieces(pieces) => Some(reqwest::Body::wrap(PiecesBody {
                pieces: Arc::clone(pieces),
                next: 0,
                offset: 0,
                reading: None,
                left: pieces.iter().map(Piece::len).sum(),
                sent: Arc::clone(sent),
            })),
            Self::Once(body) => {
                let body = body.lock().unwrap_or_else(PoisonError::into_inner).take();
                body.map(|body| reqwest::Body::wrap(Counted { body, sent: Arc::clone(sent) }))
            }
            Self::Of(source) => {
                Some(reqwest::Body::wrap(Counted { body: source.body(), sent: Arc::clone(sent) }))
            }
        }
    }
}

/// The bytes of pieces, one after the other.
struct PiecesBody {
    pieces: Arc<[Piece]>,
    next: usize,
    /// Within the file that is the next piece.
    offset: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    left: u64,
    sent: Arc<AtomicU64>,
}

impl PiecesBody {
    fn give(&mut self, bytes: Bytes) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.left = self.left.saturating_sub(bytes.len() as u64);
        self.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

impl http_body::Body for PiecesBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            if let Some(reading) = &mut self.reading {
                let read = ready!(Pin::new(reading).poll(context));
                self.reading = None;
                let bytes = read.map_err(io::Error::other)??;
                self.offset += bytes.len() as u64;
                return self.give(bytes);
            }
            match self.pieces.get(self.next).cloned() {
                None => return Poll::Ready(None),
                Some(Piece::Memory(bytes)) => {
                    self.next += 1;
                    if !bytes.is_empty() {
                        return self.give(bytes);
                    }
                }
                Some(Piece::File(_, length)) if self.offset >= length => {
                    self.next += 1;
                    self.offset = 0;
                }
                Some(Piece::File(file, length)) => {
                    let (offset, left) = (self.offset, length - self.offset);
                    self.reading = Some(tokio::task::spawn_blocking(move || read_block(&file, offset, left)));
                }
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// A block of a file at `offset`, before whose end there are `left` bytes.
pub(crate) fn read_block(file: &File, offset: u64, left: u64) -> io::Result<Bytes> {
    let mut block = vec![0; usize::try_from(left).unwrap_or(BLOCK).min(BLOCK)];
    file.read_exact_at(&mut block, offset)?;
    Ok(block.into())
}

/// A stream whose bytes are counted.
struct Counted {
    body: reqwest::Body,
    sent: Arc<AtomicU64>,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, reqwest::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(bytes) = frame.data_ref()
        {
            self.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
