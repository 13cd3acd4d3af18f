//! Doing several steps, all of them, and telling at the end how each went.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// The steps done so far.
#[derive(Default)]
pub(crate) struct Report {
    steps: Vec<Step>,
    notes: Vec<String>,
}

struct Step {
    name: String,
    took: Duration,
    failure: Option<String>,
}

impl Report {
    /// Does a step. One that fails does not keep the next ones from being done.
    pub(crate) fn step(&mut self, name: impl Into<String>, act: impl FnOnce() -> Result<()>) -> bool {
        let name = name.into();
        println!("\n=== {name}");
        let start = Instant::now();
        let failure = act().err().map(|error| format!("{error:#}"));
        if let Some(failure) = &failure {
            println!("--- {name} failed: {failure}");
        }
        let passed = failure.is_none();
        self.steps.push(Step { name, took: start.elapsed(), failure });
        passed
    }

    /// Says something now, and again in the summary.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        println!("\n=== {note}");
        self.notes.push(note);
    }

    /// Prints the summary.
    ///
    /// # Errors
    /// If a step failed.
    pub(crate) fn end(self) -> Result<()> {
        println!("\n=== summary");
        for Step { name, took, failure } in &self.steps {
            let word = if failure.is_none() { "ok    " } else { "FAILED" };
            println!("{word} {:6.1} s  {name}", took.as_secs_f64());
        }
        for note in &self.notes {
            println!("note             {note}");
        }
        let failed: Vec<&str> =
            self.steps.iter().filter(|step| step.failure.is_some()).map(|step| step.name.as_str()).collect();
        println!("\nsteps: {} passed, {} failed", self.steps.len() - failed.len(), failed.len());
        if !failed.is_empty() {
            bail!("{}", failed.join("; "));
        }
        Ok(())
    }
}
