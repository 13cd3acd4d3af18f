//! The answer that is being written: one multipart body, to which one part after the other is given.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use tokio::sync::{Mutex, MutexGuard, Semaphore, mpsc};

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

/// Chunks of what passes through without a share of the memory that wait until the client takes them.
const LOOSE: usize = 8;

/// A channel to a body. It has no bound of its own, because what is sent through it has: either a share of the memory, or one
/// of the few places for loose chunks. So whatever the memory holds is read ahead while the client does something else;
/// Orthanc reads 10 MB, and then stores what is in them.
pub(super) fn channel() -> (mpsc::UnboundedSender<Message>, mpsc::UnboundedReceiver<Message>) {
    mpsc::unbounded_channel()
}

/// Where parts are written, one at a time.
pub(super) struct Output {
    writing: Mutex<Writing>,
    loose: Arc<Semaphore>,
}

struct Writing {
    writer: Writer,
    sender: mpsc::UnboundedSender<Message>,
}

/// The right to write a part, until it is dropped.
pub(super) struct Turn<'a> {
    writing: MutexGuard<'a, Writing>,
    loose: &'a Arc<Semaphore>,
}

impl Output {
    pub(super) fn new(writer: Writer, sender: mpsc::UnboundedSender<Message>) -> Self {
        Self { writing: Mutex::new(Writing { writer, sender }), loose: Arc::new(Semaphore::new(LOOSE)) }
    }

    /// Waits for the right to write a part. Who asks first gets it first.
    pub(super) async fn turn(&self) -> Turn<'_> {
        Turn { writing: self.writing.lock().await, loose: &self.loose }
    }

    /// Writes the end of the body.
    pub(super) fn end(self, when_taken: impl FnOnce() + Send + 'static) {
        let Writing { writer, sender } = self.writing.into_inner();
        // If nobody takes it, the client is gone.
        drop(sender.send(Message::End(writer.end(), Box::new(when_taken))));
    }

    /// Breaks the body off.
    pub(super) fn fail(self, refusal: Refusal) {
        drop(self.writing.into_inner().sender.send(Message::Failed(refusal)));
    }
}

impl Turn<'_> {
    /// What stands before a part of so many bytes, if that is known.
    pub(super) fn head(&mut self, content_type: &HeaderValue, length: Option<u64>) -> Bytes {
        self.writing.writer.part(content_type, length)
    }

    /// Writes bytes that have their share of the memory.
    pub(super) fn write(&self, bytes: Vec<Bytes>) {
        // If nobody takes them, the client is gone, and the task that this runs in about to be dropped.
        drop(self.writing.sender.send(Message::Bytes(bytes)));
    }

    /// Writes bytes that have none, waiting until the client has taken what was written so before.
    pub(super) async fn write_loose(&self, bytes: Bytes) {
        // It is never closed.
        if let Ok(place) = Arc::clone(self.loose).acquire_owned().await {
            self.write(vec![Bytes::from_owner(Holding { bytes, _held: place })]);
        }
    }
}

/// Bytes that keep their shares of the memory until they are dropped.
pub(super) fn sharing(bytes: Bytes, one: Share, other: Share) -> Bytes {
    Bytes::from_owner(Holding { bytes, _held: (one, other) })
}

struct Holding<T> {
    bytes: Bytes,
    _held: T,
}

impl<T> AsRef<[u8]> for Holding<T> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
