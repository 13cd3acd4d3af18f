//! An Orthanc whose wall clock a test sets: Debian's `libfaketime`, loaded before everything else.
//!
//! Orthanc reads the offset from a file whenever it asks for the time, so that its clock steps while it runs. Its monotonic
//! clock goes on, as it does when somebody sets a machine's clock.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::Error;

/// The library's form for programs with threads.
const LIBRARY: &str = "libfaketimeMT.so.1";

/// The file of the offset, in the folder `work`.
fn offset_file(work: &Path) -> PathBuf {
    work.join("clock-offset")
}

/// Puts the library and an offset into the folder `work`, which every release sees at the same path, and gives the
/// environment that makes Orthanc use them.
pub(crate) fn install(work: &Path, seconds: i64) -> Result<Vec<(&'static str, PathBuf)>, Error> {
    let library = find()
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "run `apt-get install libfaketime`"))
        .map_err(Error::io(format!("look for {LIBRARY}")))?;
    let copy = work.join(LIBRARY);
    fs::copy(library, &copy).map_err(Error::io(format!("copy {LIBRARY}")))?;
    set(work, seconds)?;
    Ok(vec![
        ("LD_PRELOAD", copy),
        ("FAKETIME_TIMESTAMP_FILE", offset_file(work)),
        ("FAKETIME_NO_CACHE", "1".into()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        // A cure for old C libraries, which with this one has every waiting thread spin.
        ("FAKETIME_FORCE_MONOTONIC_FIX", "0".into()),
    ])
}

/// Sets the clock ahead of the machine's by so many seconds, at once and for good.
pub(crate) fn set(work: &Path, seconds: i64) -> Result<(), Error> {
    // Replaced in one step, because Orthanc may be reading it.
    let new = work.join("clock-offset.new");
    let written =
        fs::write(&new, format!("{seconds:+}\n")).and_then(|()| fs::rename(&new, offset_file(work)));
    written.map_err(Error::io("set Orthanc's clock"))
}

/// Debian's library, whatever the machine's architecture.
fn find() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten();
    folders.map(|folder| folder.path().join("faketime").join(LIBRARY)).find(|path| path.exists())
}
