//! An Orthanc whose `/etc/resolv.conf` a test writes: a file in its folder, mounted over the machine's.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

use crate::Error;

fn file(work: &Path) -> PathBuf {
    work.join("resolv.conf")
}

/// Writes the file for a start, and says where it is.
pub(crate) fn install(work: &Path, text: &str) -> Result<PathBuf, Error> {
    let file = file(work);
    fs::write(&file, text).map_err(Error::io("write Orthanc's resolv.conf"))?;
    Ok(file)
}

/// Changes the file in place, as the mount is one of this very file: another of the same name would not be seen.
pub(crate) fn set(work: &Path, text: &str) -> Result<(), Error> {
    let write = || {
        let mut file = File::options().write(true).open(file(work))?;
        let former = usize::try_from(file.metadata()?.len()).unwrap_or_default();
        // In one call and without emptying it first, because Orthanc may be reading it; empty lines cover what is longer.
        file.write_all(format!("{text}{}", "\n".repeat(former.saturating_sub(text.len()))).as_bytes())?;
        file.set_len(text.len() as u64)
    };
    write().map_err(Error::io("change Orthanc's resolv.conf"))
}
