//! One instance on its way into the answer, whatever breaks off meanwhile.

use bytes::{Buf as _, Bytes};
use http::{HeaderValue, StatusCode};
use ring::digest::{Context, SHA256};

use super::{Retrieval, output::Turn};
use crate::refusal::Refusal;

/// How much of an instance too large to be collected is collected nevertheless, in bytes, so that its connection is warm when
/// its turn comes.
const READ_AHEAD: usize = 8 << 20;

/// An instance that is fetched.
///
/// It is collected, and written when it is complete. If it is too large for that, or there is no room in memory, it waits
/// for its turn and passes through as it comes. So whoever has the turn needs no memory, and everybody else comes to it:
/// nobody waits for memory here, whatever else uses it.
pub(super) struct Part<'a> {
    retrieval: &'a Retrieval,
    pieces: Vec<Bytes>,
    collected: usize,
    open: Option<Open<'a>>,
    /// What the present answer says of it.
    content_type: HeaderValue,
    length: Option<u64>,
    /// How much of the present answer has come, in bytes.
    position: u64,
    /// The most that has come of any answer.
    furthest: u64,
}

/// A part of which something was written: what comes now continues that.
struct Open<'a> {
    turn: Turn<'a>,
    announced: Option<u64>,
    written: u64,
    /// Of what was written.
    digest: Context,
    /// Of what the present answer has brought of it, until that is all.
    again: Option<Context>,
}

/// An instance of which a part was passed on has become another: no request can mend that.
#[derive(Debug)]
pub(super) struct Differs;

impl From<Differs> for Refusal {
    fn from(_: Differs) -> Self {
        let cause =
            "an instance that had been passed on in part has become another one when it was asked for again";
        Self::own(StatusCode::BAD_GATEWAY, cause, "retrieve it again")
    }
}

impl<'a> Part<'a> {
    pub(super) fn new(retrieval: &'a Retrieval) -> Self {
        Self {
            retrieval,
            pieces: Vec::new(),
            collected: 0,
            open: None,
            content_type: crate::multipart::DICOM,
            length: None,
            position: 0,
            furthest: 0,
        }
    }

    /// Whether something of it was written, so that it has to be brought to its end.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether nothing has come of the present answer.
    pub(super) fn is_empty(&self) -> bool {
        self.position == 0
    }

    /// The most bytes that have come of any answer.
    pub(super) fn furthest(&self) -> u64 {
        self.furthest
    }

    /// An answer begins to bring it, of `length` bytes where that is known.
    pub(super) fn begin(&mut self, content_type: HeaderValue, length: Option<u64>) -> Result<(), Differs> {
        self.position = 0;
        self.content_type = content_type;
        self.length = length;
        self.pieces.clear();
        self.collected = 0;
        if let Some(open) = &mut self.open {
            if length.zip(open.announced).is_some_and(|(one, other)| one != other) {
                return Err(Differs);
            }
            open.again = Some(Context::new(&SHA256));
        }
        Ok(())
    }

    /// Takes what comes next of it. May wait for the client.
    pub(super) async fn take(&mut self, bytes: Bytes) -> Result<(), Differs> {
        self.position += bytes.len() as u64;
        self.furthest = self.furthest.max(self.position);
        if self.open.is_none() {
            match self.collect(bytes) {
                None => return Ok(()),
                Some(bytes) => {
                    self.open(self.length).await;
                    return self.pass(bytes).await;
                }
            }
        }
        self.pass(bytes).await
    }

    /// The answer has brought all of it: the number of its bytes.
    pub(super) async fn end(mut self) -> Result<u64, Differs> {
        if self.open.is_none() {
            self.open(Some(self.position)).await;
        }
        match &self.open {
            Some(open)
                if open.again.is_none() && open.announced.is_none_or(|length| length == open.written) =>
            {
                Ok(open.written)
            }
            _ => Err(Differs),
        }
    }

    /// Collects the bytes, or gives them back if there is no room.
    fn collect(&mut self, bytes: Bytes) -> Option<Bytes> {
        let spool_over = self.retrieval.shared.settings.spool_over;
        let most = match self.length {
            Some(length) if length > spool_over as u64 => spool_over.min(READ_AHEAD),
            _ => spool_over,
        };
        if self.collected + bytes.len() > most {
            return Some(bytes);
        }
        match self.retrieval.sharing(&bytes) {
            None => Some(bytes),
            Some(bytes) => {
                self.collected += bytes.len();
                self.pieces.push(bytes);
                None
            }
        }
    }

    /// Waits for the turn and writes what was collected.
    async fn open(&mut self, announced: Option<u64>) {
        let mut turn = self.retrieval.output.turn().await;
        let mut digest = Context::new(&SHA256);
        let complete = announced == Some(self.position) && self.collected as u64 == self.position;
        // What is complete is never continued.
        if !complete {
            self.pieces.iter().for_each(|piece| digest.update(piece));
        }
        let head = turn.head(&self.content_type, announced);
        let mut bytes = std::mem::take(&mut self.pieces);
        bytes.insert(0, head);
        turn.write(bytes);
        self.open = Some(Open { turn, announced, written: self.collected as u64, digest, again: None });
        self.collected = 0;
    }

    /// Passes on what was not written yet, and compares what was.
    async fn pass(&mut self, mut bytes: Bytes) -> Result<(), Differs> {
        let Some(open) = &mut self.open else { return Err(Differs) };
        let before = self.position - bytes.len() as u64;
        if let Some(again) = &mut open.again {
            let old = usize::try_from(open.written - before).unwrap_or(usize::MAX).min(bytes.len());
            again.update(&bytes.split_to(old));
            if before + (old as u64) < open.written {
                return Ok(());
            }
            let same = again.clone().finish().as_ref() == open.digest.clone().finish().as_ref();
            open.again = None;
            if !same {
                return Err(Differs);
            }
        }
        if !bytes.has_remaining() {
            return Ok(());
        }
        open.digest.update(&bytes);
        open.written += bytes.len() as u64;
        if open.announced.is_some_and(|length| open.written > length) {
            return Err(Differs);
        }
        match self.retrieval.sharing(&bytes) {
            Some(bytes) => open.turn.write(vec![bytes]),
            None => open.turn.write_loose(bytes).await,
        }
        Ok(())
    }
}
