//! Newer Debian releases with their Orthanc, each in a chroot.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use orthanc_testbed::Release;

use crate::{apt, mirror, shell};

/// Written last, so its presence says that the chroot is whole.
const MARKER: &str = "made-by-xtask";

/// Makes the chroot of `release` in the folder `chroots`, unless it is there. The machine's own release has none.
pub(crate) fn ensure(release: Release, chroots: &Path) -> Result<()> {
    if release == Release::Bookworm {
        return Ok(());
    }
    let root = chroots.join(release.name());
    if !root.join(MARKER).exists() {
        println!("There is no chroot with Debian {release} yet: it is made now, in {}.", root.display());
        apt::ensure(&["debootstrap"])?;
        fs::create_dir_all(chroots)?;
        remove_leftovers(release, chroots)?;
        // Under another name until it is whole, so that an interrupted run leaves nothing that looks usable.
        let making = chroots.join(format!("{release}.making.{}", std::process::id()));
        make(release, &making).with_context(|| format!("cannot make the chroot of Debian {release}"))?;
        shell::run(&mut shell::as_root(&format!(
            "mv --no-target-directory {} {}",
            word(&making)?,
            word(&root)?
        )))?;
    }
    let versions = fs::read_to_string(root.join(MARKER))?;
    println!("Debian {release}: {}", versions.trim().replace('\n', ", "));
    Ok(())
}

fn make(release: Release, root: &Path) -> Result<()> {
    let mirror = mirror::of_this_machine()?;
    let at = word(root)?;
    let include = if mirror.starts_with("https:") { "--include=ca-certificates" } else { "" };
    shell::run(&mut shell::as_root(&format!(
        "debootstrap --variant=minbase {include} {release} {at} {mirror}"
    )))?;
    shell::run(&mut shell::as_root(&format!("cp --dereference /etc/resolv.conf {at}/etc/resolv.conf")))?;
    // Orthanc looks up its host's name for every STOW-RS request it receives; without this line it waits for DNS.
    let host = fs::read_to_string("/proc/sys/kernel/hostname")?;
    write(&format!("127.0.0.1 localhost {}\n", host.trim()), &root.join("etc/hosts"))?;
    // The index of unstable may be older than it promises to be, on a mirror that is rarely brought up to date.
    let apt =
        format!("chroot {at} env DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Check-Valid-Until=false");
    shell::run(&mut shell::as_root(&format!("{apt} update --quiet")))?;
    let packages = "orthanc orthanc-dicomweb";
    shell::run(&mut shell::as_root(&format!(
        "{apt} install --quiet --yes --no-install-recommends {packages}"
    )))?;
    shell::run(&mut shell::as_root(&format!("chroot {at} apt-get clean")))?;
    let versions = shell::capture(&mut shell::as_root(&format!("chroot {at} dpkg-query --show {packages}")))?;
    write(&versions.replace('\t', " "), &root.join(MARKER))
}

/// What runs that were interrupted have left, but not what another run is making now.
fn remove_leftovers(release: Release, chroots: &Path) -> Result<()> {
    let prefix = format!("{release}.making.");
    for entry in fs::read_dir(chroots)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let unfinished = name == release.name();
        let abandoned = name.strip_prefix(&prefix).is_some_and(|pid| !Path::new("/proc").join(pid).exists());
        if unfinished || abandoned {
            shell::run(&mut shell::as_root(&format!("rm --recursive --one-file-system {}", word(&path)?)))?;
        }
    }
    Ok(())
}

/// Writes a file that only root may write.
fn write(text: &str, path: &Path) -> Result<()> {
    let own: PathBuf = std::env::temp_dir().join(format!("xtask-{}", std::process::id()));
    fs::write(&own, text)?;
    let written = shell::run(&mut shell::as_root(&format!("cp {} {}", word(&own)?, word(path)?)));
    fs::remove_file(own)?;
    written
}

/// The commands here are lines of words, so a path must be one.
fn word(path: &Path) -> Result<&str> {
    let text = path.to_str().filter(|text| !text.contains(char::is_whitespace));
    text.with_context(|| {
        format!("{}: debootstrap takes no path with blanks in it; move the work tree", path.display())
    })
}
