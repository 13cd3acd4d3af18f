//! The answer that is being written: one multipart body, to which one part after the other is given.

use bytes::Bytes;
use http::HeaderValue;
use tokio::sync::{Mutex, MutexGuard, mpsc};

use crate::{memory::Share, multipart::Writer, refusal::Refusal};

/// What a body is told by whoever makes it.
pub(super) enum Message {
    /// Bytes, in order.
    Bytes(Vec<Bytes>),
    /// The last bytes, and what is to be done when they are taken: then all of it was.
    End(Bytes, Box<dyn FnOnce() + Send>),
    /// It cannot be had to its end, or, if this comes first, not at all.
    Failed(Refusal),
}

/// Messages that wait until the client takes them: a few, so that neither waits for the other. What whole instances hold is
/// counted where they are collected.
const WAITING: usize = 4;

/// A channel to a body.
pub(super) fn channel() -> (mpsc::Sender<Message>, mpsc::Receiver<Message>) {
    mpsc::channel(WAITING)
}

/// Where parts are written, one at a time.
pub(super) struct Output {
    writing: Mutex<Writing>,
}

struct Writing {
    writer: Writer,
    sender: mpsc::Sender<Message>,
}

/// The right to write a part, until it is dropped.
pub(super) struct Turn<'a>(MutexGuard<'a, Writing>);

impl Output {
    pub(super) fn new(writer: Writer, sender: mpsc::Sender<Message>) -> Self {
        Self { writing: Mutex::new(Writing { writer, sender }) }
    }

    /// Waits for the right to write a part. Who asks first gets it first.
    pub(super) async fn turn(&self) -> Turn<'_> {
        Turn(self.writing.lock().await)
    }

    /// Writes the end of the body.
    pub(super) async fn end(self, when_taken: impl FnOnce() + Send + 'static) {
        let Writing { writer, sender } = self.writing.into_inner();
        // If nobody takes it, the client is gone.
        drop(sender.send(Message::End(writer.end(), Box::new(when_taken))).await);
    }

    /// Breaks the body off.
    pub(super) async fn fail(self, refusal: Refusal) {
        drop(self.writing.into_inner().sender.send(Message::Failed(refusal)).await);
    }
}

impl Turn<'_> {
    /// What stands before a part of so many bytes, if that is known.
    pub(super) fn head(&mut self, content_type: &HeaderValue, length: Option<u64>) -> Bytes {
        self.0.writer.part(content_type, length)
    }

    /// Writes bytes, waiting until the client has taken what was written before.
    pub(super) async fn write(&self, bytes: Vec<Bytes>) {
        // If nobody takes them, the client is gone, and the task that this runs in about to be dropped.
        drop(self.0.sender.send(Message::Bytes(bytes)).await);
    }
}

/// Bytes that keep their shares of the memory until they are dropped.
pub(super) fn sharing(bytes: Bytes, one: Share, other: Share) -> Bytes {
    Bytes::from_owner(Sharing { bytes, _shares: (one, other) })
}

struct Sharing {
    bytes: Bytes,
    _shares: (Share, Share),
}

impl AsRef<[u8]> for Sharing {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
