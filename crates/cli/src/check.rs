//! `orthanc-gcp check`: what is wrong with a configuration, and with each account's way to its store.

use std::io::{self, Write};

use google_credentials::Outside;
use orthanc_gcp_configuration::{Configuration, Severity, printable};
use orthanc_gcp_doctor::{Examination, Outcome, Step, Writing, examine};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{
    End, Error,
    arguments::CheckOptions,
    files::ReadError,
    reading::{self, Mistake, Reading},
    terminal::{Colour, Colours},
};

/// Checks everything and says so as it comes, or in the end as JSON.
pub(crate) fn run(options: &CheckOptions) -> Result<End, Error> {
    let outcome = check(options);
    if let (true, Err(error)) = (options.json, &outcome) {
        let findings: Vec<Value> = match error {
            Error::Read(errors) => errors.iter().map(unread).collect(),
            _ => Vec::new(),
        };
        print(&json!({"ok": false, "error": error.to_string(), "findings": findings, "accounts": []}))?;
    }
    outcome
}

fn check(options: &CheckOptions) -> Result<End, Error> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
    let environment = Outside::new(Configuration::default().http);
    let mut reading = reading::read(&options.paths, &environment)?;
    reading.mistakes.append(&mut reading.of_orthanc);
    for name in &options.account {
        reading.expect(name)?;
    }
    if !options.account.is_empty() {
        reading.mistakes.retain(|mistake| mistake.concerns(&options.account));
        reading.names.retain(|name| options.account.contains(name));
    }
    if options.json {
        let mut document = Document::default();
        let is_well = tell(options, &runtime, &reading, &mut document)?;
        print(&document.finish(is_well))?;
        return Ok(End::from(is_well));
    }
    let mut paper = Paper { colours: Colours::of_output(&environment), failed: 0, warned: 0 };
    tell(options, &runtime, &reading, &mut paper).map(End::from)
}

/// Who hears of everything as it is found.
trait Listener: Send {
    fn mistake(&mut self, mistake: &Mistake) -> io::Result<()>;
    /// `store` is `None` for an account that cannot be used.
    fn account(&mut self, name: &str, store: Option<&str>) -> io::Result<()>;
    fn step(&mut self, step: &Step) -> io::Result<()>;
    fn end(&mut self, is_well: bool) -> io::Result<()>;
}

fn tell(
    options: &CheckOptions,
    runtime: &Runtime,
    reading: &Reading,
    listener: &mut dyn Listener,
) -> Result<bool, Error> {
    let mut is_well = true;
    for mistake in &reading.mistakes {
        is_well &= mistake.severity != Severity::Error;
        listener.mistake(mistake)?;
    }
    let world = Outside::new(reading.configuration.http.clone());
    for name in &reading.names {
        let Some(account) = reading.account(name) else {
            is_well = false;
            listener.account(name, None)?;
            continue;
        };
        listener.account(name, Some(account.url()))?;
        let writing = if options.write { Writing::OneInstance } else { Writing::Nothing };
        let examination = Examination { world: &world, http: &reading.configuration.http, account, writing };
        let mut told = Ok(());
        let mut tell = |step: &Step| {
            if told.is_ok() {
                told = listener.step(step);
            }
        };
        is_well &= runtime.block_on(examine(examination, &mut tell));
        told?;
    }
    listener.end(is_well)?;
    Ok(is_well)
}

/// A mistake as a line that editors know how to follow.
pub(crate) fn line(mistake: &Mistake, colours: Colours) -> String {
    let severity = match mistake.severity {
        Severity::Error => colours.paint(Colour::Red, "error"),
        Severity::Warning => colours.paint(Colour::Yellow, "warning"),
    };
    let place = mistake.place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
    format!("{}{severity}: {}", printable(&place), printable(&mistake.words()))
}

/// For people.
struct Paper {
    colours: Colours,
    failed: usize,
    warned: usize,
}

impl Listener for Paper {
    fn mistake(&mut self, mistake: &Mistake) -> io::Result<()> {
        match mistake.severity {
            Severity::Error => self.failed += 1,
            Severity::Warning => self.warned += 1,
        }
        writeln!(io::stdout(), "{}", line(mistake, self.colours))
    }

    fn account(&mut self, name: &str, store: Option<&str>) -> io::Result<()> {
        let name = self.colours.paint(Colour::Bold, printable(name));
        match store {
            Some(store) => writeln!(io::stdout(), "\n{name}  {store}"),
            None => writeln!(io::stdout(), "\n{name}  cannot be used: correct the errors above"),
        }
    }

    fn step(&mut self, step: &Step) -> io::Result<()> {
        let (mark, colour) = match step.outcome {
            Outcome::Ok => ("✓", Colour::Green),
            Outcome::Warning => ("!", Colour::Yellow),
            Outcome::Failed => ("✗", Colour::Red),
            Outcome::Skipped => ("-", Colour::Grey),
        };
        match step.outcome {
            Outcome::Failed => self.failed += 1,
            Outcome::Warning => self.warned += 1,
            Outcome::Ok | Outcome::Skipped => {}
        }
        let words = match step.outcome {
            Outcome::Skipped => self.colours.paint(Colour::Grey, &step.words),
            _ => step.words.clone(),
        };
        let mut out = io::stdout().lock();
        writeln!(out, "  {} {:<10}  {words}", self.colours.paint(colour, mark), step.name)?;
        if let Some(remedy) = &step.remedy {
            writeln!(out, "                {} {remedy}", self.colours.paint(colour, "→"))?;
        }
        out.flush()
    }

    fn end(&mut self, is_well: bool) -> io::Result<()> {
        let warnings = match self.warned {
            0 => String::new(),
            1 => ", with a warning".to_owned(),
            several => format!(", with {several} warnings"),
        };
        let words = if is_well {
            self.colours.paint(Colour::Green, format!("All is well{warnings}."))
        } else {
            let what = if self.failed == 1 {
                "1 thing is".to_owned()
            } else {
                format!("{} things are", self.failed)
            };
            self.colours.paint(Colour::Red, format!("{what} wrong{warnings}."))
        };
        writeln!(io::stdout(), "\n{words}")
    }
}

/// For programs.
#[derive(Default)]
struct Document {
    findings: Vec<Value>,
    accounts: Vec<Value>,
}

impl Document {
    fn finish(mut self, is_well: bool) -> Value {
        for account in &mut self.accounts {
            let failed = |step: &Value| step["outcome"] == Outcome::Failed.as_str();
            let is_well = account["store"].is_string()
                && account["steps"].as_array().is_none_or(|steps| !steps.iter().any(failed));
            account["ok"] = is_well.into();
        }
        json!({"ok": is_well, "findings": self.findings, "accounts": self.accounts})
    }
}

impl Listener for Document {
    fn mistake(&mut self, mistake: &Mistake) -> io::Result<()> {
        let place = mistake.place.as_ref();
        self.findings.push(json!({
            "severity": if mistake.severity == Severity::Error { "error" } else { "warning" },
            "file": place.map(|place| place.file.display().to_string()),
            "line": place.map(|place| place.line),
            "column": place.map(|place| place.column),
            "path": mistake.path.as_ref().map(ToString::to_string),
            "text": mistake.text,
        }));
        Ok(())
    }

    fn account(&mut self, name: &str, store: Option<&str>) -> io::Result<()> {
        self.accounts.push(json!({"name": name, "store": store, "steps": []}));
        Ok(())
    }

    fn step(&mut self, step: &Step) -> io::Result<()> {
        let steps = self.accounts.last_mut().and_then(|account| account["steps"].as_array_mut());
        if let Some(steps) = steps {
            steps.push(json!({
                "name": step.name.as_str(),
                "outcome": step.outcome.as_str(),
                "words": step.words,
                "remedy": step.remedy,
                "seconds": step.duration.as_secs_f64(),
            }));
        }
        Ok(())
    }

    fn end(&mut self, _: bool) -> io::Result<()> {
        Ok(())
    }
}

/// What keeps a file from being read, as a finding.
fn unread(error: &ReadError) -> Value {
    let (file, place) = error.place();
    json!({
        "severity": "error",
        "file": file.display().to_string(),
        "line": place.map(|place| place.line),
        "column": place.map(|place| place.column),
        "path": null,
        "text": error.text(),
    })
}

fn print(document: &Value) -> io::Result<()> {
    writeln!(io::stdout(), "{document:#}")
}
