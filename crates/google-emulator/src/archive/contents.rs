//! Where the bytes of instances are, and reading them.

use crate::rsa_key::hex;
use bytes::{Buf, Bytes};
use ring::digest::{Context, SHA256};
use std::{
    fs::File,
    io::{self, Read, Seek as _},
    path::PathBuf,
};

/// Where the emulator keeps the instances that it is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// In files of the data folder: whatever its size, no instance is ever in memory.
    #[default]
    Disk,
    /// In memory, until the emulator ends: nothing is written, and nothing is copied to be sent.
    Memory,
    /// Nowhere. Of each instance size and SHA-256 are remembered, so duplicates are told from differing instances; searches
    /// and retrievals find nothing.
    Digests,
    /// Nowhere, and only sizes are remembered: an instance that comes again is always taken for a duplicate.
    Nothing,
}

/// The bytes of one instance.
#[derive(Debug)]
pub(crate) enum Contents {
    File(PathBuf),
    Memory(Vec<Bytes>),
    Forgotten,
}

impl Contents {
    /// A reader from the beginning. Blocking where it is a file.
    pub(crate) fn open(&self) -> io::Result<Reader> {
        match self {
            Self::File(path) => Ok(Reader::File(File::open(path)?)),
            Self::Memory(pieces) => Ok(Reader::pieces(pieces)),
            Self::Forgotten => Err(io::Error::new(io::ErrorKind::NotFound, "the instance was not kept")),
        }
    }

    /// What is in memory, none of it empty.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &Bytes> {
        let pieces = if let Self::Memory(pieces) = self { pieces.as_slice() } else { &[] };
        pieces.iter().filter(|piece| !piece.is_empty())
    }

    /// The SHA-256 of what is in memory, in hexadecimal digits.
    pub(super) fn sha256(&self) -> Option<String> {
        let Self::Memory(_) = self else { return None };
        let mut digest = Context::new(&SHA256);
        self.pieces().for_each(|piece| digest.update(piece));
        Some(hex(digest.finish().as_ref()))
    }
}

/// Reads what [`Contents`] hold.
pub(crate) enum Reader {
    File(File),
    /// The last is the first to be read.
    Memory(Vec<Bytes>),
}

impl Reader {
    /// A reader of `pieces`, one after the other.
    pub(crate) fn pieces(pieces: &[Bytes]) -> Self {
        Self::Memory(pieces.iter().rev().cloned().collect())
    }

    /// Another reader of the same, for now: of a file, this one is to be rewound after it.
    pub(super) fn twin(&self) -> io::Result<Self> {
        Ok(match self {
            Self::File(file) => Self::File(file.try_clone()?),
            Self::Memory(pieces) => Self::Memory(pieces.clone()),
        })
    }

    /// Back to the beginning, after a [`Self::twin`] was read.
    pub(super) fn rewind(&mut self) -> io::Result<()> {
        match self {
            Self::File(file) => file.rewind(),
            Self::Memory(_) => Ok(()),
        }
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(buffer),
            Self::Memory(pieces) => {
                while pieces.pop_if(|piece| piece.is_empty()).is_some() {}
                let Some(piece) = pieces.last_mut() else { return Ok(0) };
                let count = piece.len().min(buffer.len());
                if let Some(buffer) = buffer.get_mut(..count) {
                    piece.copy_to_slice(buffer);
                }
                Ok(count)
            }
        }
    }
}

/// Whether two sequences of pieces hold the same bytes, wherever they are cut.
pub(crate) fn same_bytes(one: &[Bytes], other: &[Bytes]) -> bool {
    let (mut one, mut other) = (one.iter().cloned(), other.iter().cloned());
    let (mut left, mut right) = (Bytes::new(), Bytes::new());
    loop {
        while left.is_empty() {
            match one.next() {
                Some(next) => left = next,
                None => return right.is_empty() && other.all(|piece| piece.is_empty()),
            }
        }
        while right.is_empty() {
            match other.next() {
                Some(next) => right = next,
                None => return false,
            }
        }
        let count = left.len().min(right.len());
        if left.split_to(count) != right.split_to(count) {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &'static str) -> Vec<Bytes> {
        text.split('|').map(|piece| Bytes::from_static(piece.as_bytes())).collect()
    }

    #[test]
    fn pieces_are_compared_and_read_wherever_they_are_cut() {
        for (one, other, same) in [
            ("", "", true),
            ("abc", "a||bc", true),
            ("ab|c|", "a|bc", true),
            ("abc", "ab", false),
            ("ab", "ab|c", false),
            ("abc", "abd", false),
        ] {
            assert_eq!(same_bytes(&cut(one), &cut(other)), same, "{one} {other}");
            assert_eq!(same_bytes(&cut(other), &cut(one)), same, "{other} {one}");
        }
        let mut text = String::new();
        Reader::pieces(&cut("ab||cd|e")).read_to_string(&mut text).unwrap();
        assert_eq!(text, "abcde");
    }
}
