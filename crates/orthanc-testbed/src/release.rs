//! Which Orthanc: the machine's own, or that of a newer Debian release in a chroot.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use crate::Error;

/// A Debian release whose packages `orthanc` and `orthanc-dicomweb` are run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Release {
    /// The machine's own packages: on Debian 12, Orthanc 1.10.1 with DICOMweb 1.7.
    #[default]
    Bookworm,
    /// Debian 13 in a chroot: Orthanc 1.12.7 with DICOMweb 1.20.
    Trixie,
    /// Debian unstable in a chroot: Orthanc 1.13.0 with DICOMweb 1.24.
    Sid,
}

impl Release {
    /// All of them, oldest first.
    pub const ALL: [Self; 3] = [Self::Bookworm, Self::Trixie, Self::Sid];

    /// The release named by `ORTHANC_RELEASE`; bookworm when the variable is unset or empty.
    ///
    /// # Panics
    /// If the variable names no release: running the tests on another one than was asked for would be a lie.
    #[expect(clippy::panic, reason = "a test must not go on with a release that nobody asked for")]
    pub fn from_environment() -> Self {
        match env::var("ORTHANC_RELEASE").unwrap_or_default().as_str() {
            "" => Self::default(),
            name => name.parse().unwrap_or_else(|error| panic!("ORTHANC_RELEASE: {error}")),
        }
    }

    /// Debian's name of the release.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::Sid => "sid",
        }
    }

    /// The root of the chroot that it lives in; none for the machine's own.
    ///
    /// It is below the folder `ORTHANC_CHROOTS`, by default `orthanc` in cargo's target folder.
    pub fn root(self) -> Option<PathBuf> {
        (self != Self::Bookworm).then(|| chroots().join(self.name()))
    }

    /// Orthanc's program, as seen from inside the release.
    pub fn program(self) -> &'static Path {
        Path::new("/usr/sbin/Orthanc")
    }

    /// The DICOMweb plugin, as seen from inside the release.
    pub fn dicomweb_plugin(self) -> &'static Path {
        Path::new("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
    }

    /// Checks that program and DICOMweb plugin are there.
    ///
    /// # Errors
    /// [`Error::Missing`], with the command that installs them.
    pub fn check(self) -> Result<(), Error> {
        let remedy = match self {
            Self::Bookworm => "run `apt-get install orthanc orthanc-dicomweb`",
            Self::Trixie => "run `cargo xtask test --orthanc trixie`, which makes its chroot",
            Self::Sid => "run `cargo xtask test --orthanc sid`, which makes its chroot",
        };
        for inside in [self.program(), self.dicomweb_plugin()] {
            let path = match self.root() {
                Some(root) => root.join(inside.strip_prefix("/").unwrap_or(inside)),
                None => inside.to_owned(),
            };
            // Debian's plugins are relative symbolic links, so following them stays inside a chroot.
            if !path.exists() {
                return Err(Error::Missing { release: self, path, remedy });
            }
        }
        Ok(())
    }
}

/// The folder of the chroots, made by `cargo xtask`.
fn chroots() -> PathBuf {
    if let Some(folder) = env::var_os("ORTHANC_CHROOTS") {
        return folder.into();
    }
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("/")).join("target"),
        PathBuf::from,
    );
    target.join("orthanc")
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Release {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|release| release.name() == name)
            .ok_or_else(|| format!("{name:?} is no release; known are bookworm, trixie and sid"))
    }
}
