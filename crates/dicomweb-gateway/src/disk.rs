//! How much of a disk temporary files may take: never the last of it, which other programs need.

use std::{fmt, io, path::Path};

/// How much room is left for temporary files where nothing is configured, in bytes: what Orthanc's database needs to go on.
const RESERVE: u64 = 1 << 30;
/// The same as a share of the file system: a twentieth.
const SHARE: u64 = 20;

/// A file system's room, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// What may still be written by who is not root.
    pub free: u64,
    /// All there is.
    pub total: u64,
}

/// The room that temporary files leave on a disk.
#[derive(Debug, Clone, Copy)]
pub struct DiskReserve {
    /// Bytes; `None` for a gibibyte, or a twentieth of the file system if that is more.
    pub bytes: Option<u64>,
    /// Tells the room of the file system that a path lies on. Another one is for tests.
    pub probe: fn(&Path) -> io::Result<DiskSpace>,
}

impl Default for DiskReserve {
    fn default() -> Self {
        Self { bytes: None, probe }
    }
}

/// So much more would leave too little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reserved {
    free: u64,
    reserve: u64,
}

impl fmt::Display for Reserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [free, reserve] = [self.free, self.reserve].map(|bytes| bytes >> 20);
        write!(f, "{free} MiB are free, and {reserve} MiB of them stay so")
    }
}

impl DiskReserve {
    /// Whether `bytes` more may be written below `folder`. Where nobody knows how much is free, the disk itself will tell.
    ///
    /// # Errors
    /// They would take of the reserve.
    pub(crate) fn allows(&self, folder: &Path, bytes: u64) -> io::Result<()> {
        let Ok(DiskSpace { free, total }) = (self.probe)(folder) else { return Ok(()) };
        let reserve = self.bytes.unwrap_or_else(|| RESERVE.max(total / SHARE));
        if reserve > 0 && free < reserve.saturating_add(bytes) {
            let reserved = Reserved { free, reserve };
            return Err(io::Error::new(io::ErrorKind::StorageFull, reserved.to_string()));
        }
        Ok(())
    }
}

fn probe(folder: &Path) -> io::Result<DiskSpace> {
    let found = rustix::fs::statvfs(folder)?;
    Ok(DiskSpace {
        free: found.f_bavail.saturating_mul(found.f_frsize),
        total: found.f_blocks.saturating_mul(found.f_frsize),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn reserve(bytes: Option<u64>, free: fn(&Path) -> io::Result<DiskSpace>) -> DiskReserve {
        DiskReserve { bytes, probe: free }
    }

    #[test]
    fn the_last_of_a_disk_is_left() {
        let folder = Path::new("/");
        let small: fn(&Path) -> io::Result<DiskSpace> = |_| Ok(DiskSpace { free: 2 * GIB, total: 10 * GIB });
        assert!(reserve(None, small).allows(folder, GIB).is_ok());
        let refused = reserve(None, small).allows(folder, GIB + 1).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
        assert_eq!(refused.to_string(), "2048 MiB are free, and 1024 MiB of them stay so");
        assert!(reserve(Some(0), small).allows(folder, 9 * GIB).is_ok());
        assert!(reserve(Some(2 * GIB), small).allows(folder, 1).is_err());
        assert!(reserve(Some(u64::MAX), small).allows(folder, 1).is_err());
        let large: fn(&Path) -> io::Result<DiskSpace> =
            |_| Ok(DiskSpace { free: 99 * GIB, total: 2000 * GIB });
        assert!(reserve(None, large).allows(folder, 1).is_err());
        assert!(reserve(Some(GIB), large).allows(folder, 1).is_ok());
        let unknown: fn(&Path) -> io::Result<DiskSpace> = |_| Err(io::ErrorKind::NotFound.into());
        assert!(reserve(None, unknown).allows(folder, 99 * GIB).is_ok());
    }

    #[test]
    fn a_real_disk_has_room_and_an_end() {
        let space = probe(&std::env::temp_dir()).unwrap();
        assert!(space.free <= space.total && space.total > 0, "{space:?}");
        assert!(probe(Path::new("/nonexistent")).is_err());
    }
}
