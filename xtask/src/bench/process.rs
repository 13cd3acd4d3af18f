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

/// What the whole process has had of the processors since its start, threads that have ended included.
pub(super) fn cpu(pid: u32) -> Result<Duration> {
    /// `USER_HZ`, which is 100 on every architecture that Debian has (proc(5)).
    const TICKS_A_SECOND: u64 = 100;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("cannot look at process {pid}"))?;
    // The name in parentheses may hold anything; behind it come the fields from the third on: 14 and 15 are wanted.
    let (_, fields) = stat.rsplit_once(") ").context("/proc has lost its form")?;
    let ticks: u64 = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 1000 / TICKS_A_SECOND))
}

/// Lets [`peak`] begin anew.
pub(super) fn forget_peak(pid: u32) -> Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5")
        .with_context(|| format!("cannot reset the peak of process {pid}"))
}

/// The most bytes that the process had in memory since its start or [`forget_peak`] (`VmHWM`).
pub(super) fn peak(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("cannot look at process {pid}"))?;
    Ok(1024 * number(&status, "VmHWM:"))
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

    #[test]
    fn the_peak_begins_anew_and_rises() {
        let own = std::process::id();
        forget_peak(own).unwrap();
        let before = peak(own).unwrap();
        let block = std::hint::black_box(vec![1_u8; 64 << 20]);
        assert!(peak(own).unwrap() >= before + (32 << 20));
        drop(block);
        assert!(cpu(own).unwrap() < Duration::from_secs(3600));
    }
}
