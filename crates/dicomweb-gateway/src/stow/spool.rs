//! An instance too large for memory: in a temporary file without a name, which is sent while it is written.
//!
//! Whoever sends it reads the file from its beginning, and waits at its end for more. So it can be sent again at any time.
//! What a full or missing disk does not take is passed on directly, and can be sent once.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use tokio::sync::{mpsc, watch};

use crate::{content, disk::DiskReserve, memory::Share};

/// How much is written at once: enough that a thread's wake-up does not count.
const PIECE: usize = 1 << 20;
/// How many pieces are on the way where there is no disk: one that is sent, and the next.
const ON_THE_WAY: usize = 2;

/// What is there of an instance, to be read by whoever sends it.
pub(crate) struct Spool {
    file: Option<Arc<File>>,
    progress: watch::Sender<Progress>,
    /// What the disk did not take, until somebody sends it.
    rest: Mutex<Option<Rest>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Progress {
    /// Bytes in the file.
    written: u64,
    end: End,
}

/// What comes after the bytes in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// More, later.
    Open,
    /// Nothing.
    Complete,
    /// What the disk did not take.
    Rest,
    /// The sender went away: nothing that could be used.
    Broken,
}

struct Rest {
    /// What was here when the disk refused, and its memory.
    here: Vec<Bytes>,
    share: Option<Share>,
    coming: mpsc::Receiver<Coming>,
}

enum Coming {
    Bytes(Bytes),
    /// That was all. Without it the sender went away.
    End,
}

/// Writes an instance into a spool; dropped before its end, it breaks off whatever is being sent of it.
pub(crate) struct Writer {
    spool: Arc<Spool>,
    folder: PathBuf,
    reserve: DiskReserve,
    pending: BytesMut,
    /// Where the disk does not take it.
    direct: Option<mpsc::Sender<Coming>>,
}

impl Writer {
    /// Begins with what is in memory of the instance, whose share is given back when it is written.
    ///
    /// No more is written below `folder` than `reserve` allows.
    pub(crate) async fn begin(folder: &Path, reserve: DiskReserve, head: Vec<Bytes>, share: Share) -> Self {
        let file = reserve.allows(folder, 0).and_then(|()| tempfile::tempfile_in(folder)).map(Arc::new);
        if let Err(error) = &file {
            told(error);
        }
        let progress = watch::Sender::new(Progress { written: 0, end: End::Open });
        let spool = Arc::new(Spool { file: file.ok(), progress, rest: Mutex::new(None) });
        let folder = folder.to_owned();
        let mut writer = Self { spool, folder, reserve, pending: BytesMut::new(), direct: None };
        if writer.spool.file.is_none() {
            writer.go_direct(head, Some(share));
            return writer;
        }
        let mut head = head.into_iter();
        while let Some(bytes) = head.next() {
            if let Err(bytes) = writer.append(bytes).await {
                let left = std::iter::once(bytes).chain(head).collect();
                writer.go_direct(left, Some(share));
                return writer;
            }
        }
        writer
    }

    /// What is written, to be sent.
    pub(crate) fn spool(&self) -> &Arc<Spool> {
        &self.spool
    }

    /// Writes more.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        let mut left = bytes;
        while !left.is_empty() {
            // Never more than a piece, so that it never grows beyond.
            self.pending.reserve(PIECE - self.pending.len());
            let (now, later) = left.split_at(left.len().min(PIECE - self.pending.len()));
            self.pending.extend_from_slice(now);
            left = later;
            if self.pending.len() >= PIECE {
                self.flush().await;
            }
        }
    }

    /// All of it is written.
    pub(crate) async fn finish(&mut self) {
        self.flush().await;
        match self.direct.take() {
            // Nobody who listens has given it up.
            Some(direct) => drop(direct.send(Coming::End).await),
            None => {
                self.spool.progress.send_if_modified(|progress| {
                    let is_open = progress.end == End::Open;
                    if is_open {
                        progress.end = End::Complete;
                    }
                    is_open
                });
            }
        }
    }

    async fn flush(&mut self) {
        let bytes = self.pending.split().freeze();
        if bytes.is_empty() || self.spool.progress.borrow().end == End::Broken {
            return;
        }
        match &self.direct {
            Some(direct) => drop(direct.send(Coming::Bytes(bytes)).await),
            None => {
                if let Err(bytes) = self.append(bytes).await {
                    self.go_direct(vec![bytes], None);
                }
            }
        }
    }

    /// Appends to the file, or gives the bytes back.
    async fn append(&self, bytes: Bytes) -> Result<(), Bytes> {
        let Some(file) = self.spool.file.clone() else { return Err(bytes) };
        let offset = self.spool.progress.borrow().written;
        let to_write = bytes.clone();
        let (folder, reserve) = (self.folder.clone(), self.reserve);
        let write = move || {
            reserve.allows(&folder, to_write.len() as u64)?;
            file.write_all_at(&to_write, offset)
        };
        let written = tokio::task::spawn_blocking(write).await;
        match written.map_err(io::Error::other).and_then(|done| done) {
            Ok(()) => {
                self.spool.progress.send_modify(|progress| progress.written += bytes.len() as u64);
                Ok(())
            }
            Err(error) => {
                told(&error);
                Err(bytes)
            }
        }
    }

    fn go_direct(&mut self, here: Vec<Bytes>, share: Option<Share>) {
        let (sender, coming) = mpsc::channel(ON_THE_WAY);
        *self.spool.rest.lock().unwrap_or_else(PoisonError::into_inner) = Some(Rest { here, share, coming });
        self.direct = Some(sender);
        self.spool.progress.send_modify(|progress| progress.end = End::Rest);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.spool.progress.send_if_modified(|progress| {
            let is_open = progress.end == End::Open;
            if is_open {
                progress.end = End::Broken;
            }
            is_open
        });
    }
}

fn told(error: &io::Error) {
    tracing::warn!(
        "the folder for temporary files takes no more ({error}): an instance is sent without a copy, and cannot be sent \
         again if the connection breaks; make room, name another folder in TMPDIR, or change GatewayDiskReserve"
    );
}

impl Spool {
    /// Whether all of it can be sent again.
    pub(crate) fn is_repeatable(&self) -> bool {
        matches!(self.progress.borrow().end, End::Open | End::Complete)
    }

    /// Waits until all of it is in the file; false where that will not be.
    pub(crate) async fn is_complete(&self) -> bool {
        let ended = self
            .progress
            .subscribe()
            .wait_for(|progress| progress.end != End::Open)
            .await
            .map(|progress| progress.end);
        ended.is_ok_and(|end| end == End::Complete)
    }

    /// Nobody will send it: what is still to come is dropped.
    pub(crate) fn give_up(&self) {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.progress.send_if_modified(|progress| {
            let is_coming = matches!(progress.end, End::Open | End::Rest);
            if is_coming {
                progress.end = End::Broken;
            }
            is_coming
        });
    }

    /// Its bytes, as they come.
    pub(crate) fn bytes(self: &Arc<Self>) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let reading =
            Reading { progress: self.progress.subscribe(), spool: Arc::clone(self), offset: 0, rest: None };
        stream::try_unfold(reading, |mut reading| async move {
            Ok(reading.next().await?.map(|bytes| (bytes, reading)))
        })
    }
}

/// Where somebody is who sends a spool.
struct Reading {
    spool: Arc<Spool>,
    progress: watch::Receiver<Progress>,
    offset: u64,
    rest: Option<Rest>,
}

impl Reading {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(rest) = &mut self.rest {
                return rest.next().await;
            }
            let Progress { written, end } = *self.progress.borrow_and_update();
            if self.offset < written
                && let Some(file) = self.spool.file.clone()
            {
                let (offset, left) = (self.offset, written - self.offset);
                let read =
                    tokio::task::spawn_blocking(move || content::read_block(&file, offset, left)).await;
                let bytes = read.map_err(io::Error::other)??;
                self.offset += bytes.len() as u64;
                return Ok(Some(bytes));
            }
            match end {
                End::Complete => return Ok(None),
                End::Broken => return Err(gone()),
                // The spool is held, and with it the sender.
                End::Open => self.progress.changed().await.map_err(io::Error::other)?,
                End::Rest => {
                    let rest = self.spool.rest.lock().unwrap_or_else(PoisonError::into_inner).take();
                    let mut rest = rest.ok_or_else(|| {
                        io::Error::other("what was not written to disk was sent once already")
                    })?;
                    rest.here.reverse();
                    self.rest = Some(rest);
                }
            }
        }
    }
}

impl Rest {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if let Some(bytes) = self.here.pop() {
            return Ok(Some(bytes));
        }
        self.share = None;
        match self.coming.recv().await {
            Some(Coming::Bytes(bytes)) => Ok(Some(bytes)),
            Some(Coming::End) => Ok(None),
            None => Err(gone()),
        }
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "whoever sent the instance went away")
}

#[cfg(test)]
mod tests;
