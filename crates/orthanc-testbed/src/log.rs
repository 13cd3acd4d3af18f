//! What a child writes, kept line by line while it writes.

use std::{
    io::{BufRead, BufReader, Read},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<String>,
    complete: bool,
}

/// The log of one child.
#[derive(Debug, Default)]
pub(crate) struct Log {
    lines: Mutex<Lines>,
    changed: Condvar,
}

impl Log {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    pub(crate) fn text(&self) -> String {
        let mut text = self.lock().lines.join("\n");
        text.push('\n');
        text
    }

    /// Whether the child's output has ended.
    pub(crate) fn is_complete(&self) -> bool {
        self.lock().complete
    }

    /// The first line from number `from` on that fulfils `predicate`; none when the deadline passes or the child's
    /// output ends without it.
    pub(crate) fn wait_for(
        &self,
        from: usize,
        predicate: impl Fn(&str) -> bool,
        deadline: Duration,
    ) -> Option<String> {
        let end = Instant::now() + deadline;
        let mut looked_at = from;
        let mut lines = self.lock();
        loop {
            for line in lines.lines.iter().skip(looked_at) {
                if predicate(line) {
                    return Some(line.clone());
                }
            }
            looked_at = looked_at.max(lines.lines.len());
            let left = end.saturating_duration_since(Instant::now());
            if lines.complete || left.is_zero() {
                return None;
            }
            lines = self.changed.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Takes all lines of `output`, until its end.
    pub(crate) fn fill_from(&self, output: impl Read) {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
            line.clear();
            self.lock().lines.push(text);
            self.changed.notify_all();
        }
        self.lock().complete = true;
        self.changed.notify_all();
    }

    /// A test that panicked while holding the lock has left whole lines behind: they are still worth reading.
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
