//! The index of a store on disk: what is noted beside each instance, and reading it all at the start.

use super::{
    Contents, Index, Instance,
    contents::Reader,
    header::{Header, Unusable},
    instance,
};
use crate::rsa_key::hex;
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

/// What is known of an instance, and stands in the file beside it.
#[derive(Serialize, Deserialize)]
pub(super) struct Notes {
    pub(super) sha256: Option<String>,
    /// The instance's length. Older emulators did not note it.
    #[serde(default)]
    pub(super) bytes: Option<u64>,
    pub(super) header: Header,
}

pub(super) fn write_notes(path: &Path, notes: &Notes) -> io::Result<()> {
    fs::write(beside(path), serde_json::to_vec(notes)?)
}

pub(super) fn read_notes(path: &Path) -> io::Result<Notes> {
    Ok(serde_json::from_slice(&fs::read(beside(path))?)?)
}

pub(super) fn remove_notes(path: &Path) -> io::Result<()> {
    match fs::remove_file(beside(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The index of the store whose instances are below `store`. Notes that are missing or broken, because the emulator was
/// killed, are written again; a file that is no instance is an error.
pub(super) fn scan(store: &Path) -> io::Result<Index> {
    let mut index = Index::new();
    for study in entries(store)? {
        for series in entries(&study)? {
            for path in entries(&series)? {
                if path.extension().is_some_and(|extension| extension == "dcm") {
                    let found = known(path)?;
                    let series = index
                        .entry(found.study.clone())
                        .or_default()
                        .entry(found.series.clone())
                        .or_default();
                    series.insert(found.uid.clone(), Arc::new(found));
                }
            }
        }
    }
    Ok(index)
}

fn known(path: PathBuf) -> io::Result<Instance> {
    let length = fs::metadata(&path)?.len();
    let notes = match read_notes(&path) {
        Ok(notes) if notes.bytes.is_none_or(|bytes| bytes == length) => notes,
        _ => {
            let notes = Notes { sha256: Some(digest(&path)?), bytes: Some(length), header: header(&path)? };
            write_notes(&path, &notes)?;
            notes
        }
    };
    Ok(instance(notes, length, Contents::File(path)))
}

fn header(path: &Path) -> io::Result<Header> {
    let named = |error: Unusable| io::Error::other(format!("{}: {error}", path.display()));
    Header::read(Reader::File(File::open(path)?)).map_err(named)
}

fn digest(path: &Path) -> io::Result<String> {
    let (mut file, mut digest) = (File::open(path)?, Context::new(&SHA256));
    let mut piece = vec![0; 256 * 1024];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(hex(digest.finish().as_ref()));
        }
        digest.update(piece.get(..read).unwrap_or_default());
    }
}

fn beside(path: &Path) -> PathBuf {
    path.with_extension("json")
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
