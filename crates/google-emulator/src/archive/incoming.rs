//! An instance while it arrives.

use super::{
    Archive, Keep,
    contents::{Contents, Reader},
    header::{Header, Unusable},
};
use crate::rsa_key::hex;
use bytes::{Bytes, BytesMut};
use ring::digest::{Context, SHA256};
use std::{io, path::PathBuf};
use tokio::{fs::File, io::AsyncWriteExt};

/// Bytes that are written, or kept in one piece, at a time.
const PIECE: usize = 1024 * 1024;

/// The first piece of an instance is as long as a small one needs; each is twice the last.
const FIRST_PIECE: usize = 64 * 1024;

/// What [`Keep`] forgets must have its UIDs in so many bytes from its beginning.
const LONGEST_HEAD: usize = 64 * 1024;

/// An instance on its way into the archive. A file of it disappears with it unless the archive took that.
pub(crate) struct Incoming {
    place: Place,
    digest: Option<Context>,
    bytes: u64,
    /// What came and is not yet written, or not yet a whole piece.
    pending: BytesMut,
}

enum Place {
    File {
        path: PathBuf,
        file: File,
    },
    Memory(Vec<Bytes>),
    /// `pending` holds the instance's beginning.
    Nowhere,
}

/// A complete instance.
pub(crate) struct Received {
    pub(super) contents: Contents,
    pub(super) bytes: u64,
    pub(super) sha256: Option<String>,
    /// The instance's beginning, where nothing else was kept of it.
    head: Bytes,
}

impl Incoming {
    pub(crate) async fn begin(archive: &Archive) -> io::Result<Self> {
        let place = match archive.keep() {
            Keep::Disk => {
                let path = archive.incoming_file();
                let file = File::create(&path).await?;
                Place::File { path, file }
            }
            Keep::Memory => Place::Memory(Vec::new()),
            Keep::Digests | Keep::Nothing => Place::Nowhere,
        };
        let digest = matches!(archive.keep(), Keep::Disk | Keep::Digests).then(|| Context::new(&SHA256));
        Ok(Self { place, digest, bytes: 0, pending: BytesMut::new() })
    }

    pub(crate) async fn write(&mut self, bytes: &Bytes) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        if let Some(digest) = &mut self.digest {
            digest.update(bytes);
        }
        match &mut self.place {
            Place::File { file, .. } => {
                self.pending.extend_from_slice(bytes);
                if self.pending.len() >= PIECE {
                    file.write_all(&self.pending).await?;
                    self.pending.clear();
                }
            }
            Place::Memory(pieces) => {
                let mut rest = bytes.clone();
                while !rest.is_empty() {
                    if self.pending.len() == self.pending.capacity() {
                        let next = (2 * self.pending.capacity()).clamp(FIRST_PIECE, PIECE);
                        let full = std::mem::replace(&mut self.pending, BytesMut::with_capacity(next));
                        if !full.is_empty() {
                            pieces.push(full.freeze());
                        }
                    }
                    let room = self.pending.capacity() - self.pending.len();
                    self.pending.extend_from_slice(&rest.split_to(room.min(rest.len())));
                }
            }
            Place::Nowhere => {
                self.pending.reserve(LONGEST_HEAD - self.pending.len());
                let room = LONGEST_HEAD - self.pending.len();
                self.pending.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
            }
        }
        Ok(())
    }

    pub(crate) async fn finish(mut self) -> io::Result<Received> {
        let pending = std::mem::take(&mut self.pending);
        let (mut contents, mut head) = (Contents::Forgotten, Bytes::new());
        match std::mem::replace(&mut self.place, Place::Nowhere) {
            Place::File { path, mut file } => {
                // Whatever goes wrong, the file is this instance's to remove.
                contents = Contents::File(path);
                let written = async {
                    file.write_all(&pending).await?;
                    file.flush().await
                };
                if let Err(error) = written.await {
                    drop(Received { contents, bytes: 0, sha256: None, head });
                    return Err(error);
                }
            }
            Place::Memory(mut pieces) => {
                pieces.push(pending.freeze());
                contents = Contents::Memory(pieces);
            }
            Place::Nowhere => head = pending.freeze(),
        }
        let sha256 = self.digest.take().map(|digest| hex(digest.finish().as_ref()));
        Ok(Received { contents, bytes: self.bytes, sha256, head })
    }
}

impl Received {
    /// Reads the instance's header. Blocking where it is a file.
    pub(crate) fn header(&self) -> io::Result<Result<Header, Unusable>> {
        match &self.contents {
            Contents::Forgotten => Ok(Header::identity(Reader::pieces(std::slice::from_ref(&self.head)))),
            contents => Ok(Header::read(contents.open()?)),
        }
    }

    /// Whether reading and taking it blocks.
    pub(crate) fn blocks(&self) -> bool {
        matches!(self.contents, Contents::File(_))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Place::File { path, .. } = &self.place {
            drop(std::fs::remove_file(path));
        }
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        // Gone already when the archive took it.
        if let Contents::File(path) = &self.contents {
            drop(std::fs::remove_file(path));
        }
    }
}
