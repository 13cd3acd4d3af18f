//! What the kernel knows of a process.

use std::{fs, io, path::Path, time::Duration};

use anyhow::{Context as _, Result};

/// A process at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sample {
    pub(super) threads: u64,
    pub(super) descriptors: u64,
    /// Bytes in memory, shared ones too (`VmRSS`).
    pub(super) resident: u64,
    /// Bytes in memory that belong to no file (`RssAnon`).
    pub(super) anonymous: u64,
    /// On a processor, all threads that live now.
    pub(super) cpu: Duration,
    /// Context switches, voluntary and not, all threads that live now.
    pub(super) switches: u64,
    /// Those of the plugin's own thread alone.
    pub(super) switches_of_plugin: u64,
}

/// The plugin's thread, as the kernel knows it.
const PLUGINS_THREAD: &str = "GOOGLE-CLOUD";

impl Sample {
    /// Looks at a process now.
    pub(super) fn of(pid: u32) -> Result<Self> {
        Self::read(Path::new(&format!("/proc/{pid}")))
            .with_context(|| format!("cannot look at process {pid}"))
    }

    fn read(process: &Path) -> io::Result<Self> {
        let status = fs::read_to_string(process.join("status"))?;
        let mut sample = Self {
            descriptors: u64::try_from(fs::read_dir(process.join("fd"))?.count()).unwrap_or(u64::MAX),
            resident: 1024 * number(&status, "VmRSS:"),
            anonymous: 1024 * number(&status, "RssAnon:"),
            ..Self::default()
        };
        for task in fs::read_dir(process.join("task"))? {
            let task = task?.path();
            // A thread that ends while we look is no thread.
            let read = |name: &str| fs::read_to_string(task.join(name)).unwrap_or_default();
            let status = read("status");
            let switches =
                number(&status, "voluntary_ctxt_switches:") + number(&status, "nonvoluntary_ctxt_switches:");
            let nanoseconds = read("schedstat").split_whitespace().next().and_then(|text| text.parse().ok());
            sample.threads += 1;
            sample.cpu += Duration::from_nanos(nanoseconds.unwrap_or_default());
            sample.switches += switches;
            if read("comm").trim_end() == PLUGINS_THREAD {
                sample.switches_of_plugin += switches;
            }
        }
        Ok(sample)
    }
}

/// The number behind `name` at the beginning of a line; 0 where there is none.
fn number(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_process_can_be_looked_at() {
        let sample = Sample::of(std::process::id()).unwrap();
        assert!(sample.threads > 0 && sample.descriptors > 2, "{sample:?}");
        assert!(sample.resident > sample.anonymous && sample.anonymous > 0, "{sample:?}");
        assert!(sample.switches > 0 && sample.switches_of_plugin == 0, "{sample:?}");
    }
}
