//! What holds for a whole gateway, each default with its reason.

use std::{path::PathBuf, time::Duration};

use google_credentials::{HttpSettings, HttpVersion};

use crate::disk::DiskReserve;

/// How a gateway works, whatever the account.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The way to Google: roots, proxy. Its time limit is for token requests and not used here.
    pub http: HttpSettings,
    /// Which version of HTTP is spoken with Google.
    pub http_version: HttpVersion,
    /// Bytes of instances that are in memory at once, of all accounts together.
    pub memory: usize,
    /// An instance of more bytes goes to a temporary file while it is being sent.
    pub spool_over: usize,
    /// Where temporary files are made; each is unlinked before anything is written to it.
    pub spool_folder: PathBuf,
    /// What temporary files leave free on their disk.
    pub disk_reserve: DiskReserve,
    /// Nothing is waited for that has not moved a byte for so long.
    pub inactivity: Duration,
    /// How long a part of a transfer is sent again: time for Google, or for the line, to come back. It is counted from its
    /// beginning, without the time in which bytes of it moved.
    pub patience: Duration,
    /// The same for requests that somebody waits for in front of a screen: searches, single instances, deletions.
    pub patience_of_requests: Duration,
    /// The origins of web pages (`https://viewer.example`) that may ask; a browser's request from any other is refused.
    pub allowed_origins: Vec<String>,
    /// Requests without a secret may come to any name that leads here, and not only to this machine's own.
    pub serves_others: bool,
}

impl Settings {
    /// The defaults, for the given way to Google.
    pub fn new(http: HttpSettings) -> Self {
        Self {
            http,
            // Each connection brings a congestion window of its own, and none waits for another's lost packet.
            http_version: HttpVersion::One,
            // What 32 connections with batches of 4 MiB hold.
            memory: 128 << 20,
            // A quarter of it: the next instances come in while one such is sent.
            spool_over: 32 << 20,
            spool_folder: large_files(),
            disk_reserve: DiskReserve::default(),
            // Google's front ends answer or send within seconds; a line that is silent for a minute is dead.
            inactivity: Duration::from_secs(60),
            patience: Duration::from_secs(300),
            patience_of_requests: Duration::from_secs(30),
            // The DICOMweb plugin is no page.
            allowed_origins: Vec::new(),
            serves_others: false,
        }
    }
}

/// Where large temporary files belong: where `TMPDIR` says, or else /var/tmp. /tmp is memory on many machines (Debian since
/// version 13) and is emptied at every start (Filesystem Hierarchy Standard, section 5.15).
fn large_files() -> PathBuf {
    let (chosen, persistent) = (std::env::temp_dir(), PathBuf::from("/var/tmp"));
    let is_chosen = std::env::var_os("TMPDIR").is_some_and(|folder| !folder.is_empty());
    if !is_chosen && tempfile::tempfile_in(&persistent).is_ok() { persistent } else { chosen }
}
