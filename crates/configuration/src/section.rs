//! Reads one object of the configuration and finds everything that is wrong with it.

use serde_json::{Map, Value};

use crate::{Findings, KeyPath};

/// A value was there, but not one that can be used; the finding is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong;

/// One object of the configuration. Call [`Section::finish`] when all keys were asked for.
pub(super) struct Section<'a, 'f> {
    path: KeyPath,
    members: &'a Map<String, Value>,
    keys: &'a [&'static str],
    findings: &'f mut Findings,
}

impl<'a, 'f> Section<'a, 'f> {
    /// The object at `path`, which may hold `keys`.
    pub(super) fn new(
        path: KeyPath,
        members: &'a Map<String, Value>,
        keys: &'a [&'static str],
        findings: &'f mut Findings,
    ) -> Self {
        Self { path, members, keys, findings }
    }

    /// A string. What is absent and what is empty is `None`: configuration templates leave empty strings behind.
    pub(super) fn string(&mut self, key: &str, remedy: &str) -> Result<Option<String>, Wrong> {
        match self.value(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.trim().to_owned())),
            Some(_) => {
                self.error(key, &format!("is not a string; {remedy}"));
                Err(Wrong)
            }
        }
    }

    /// A switch; off where it is absent.
    pub(super) fn flag(&mut self, key: &str) -> Result<bool, Wrong> {
        self.switch(key).map(|on| on.unwrap_or(false))
    }

    /// A switch; `None` where it is absent.
    pub(super) fn switch(&mut self, key: &str) -> Result<Option<bool>, Wrong> {
        match self.value(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(on)) => Ok(Some(*on)),
            Some(_) => {
                self.error(key, "is neither true nor false; use one of them, without quotation marks");
                Err(Wrong)
            }
        }
    }

    /// A value of whatever kind; `None` where it is absent.
    pub(super) fn any(&self, key: &str) -> Option<&'a Value> {
        self.value(key).filter(|value| !value.is_null())
    }

    /// A whole number of seconds, 0 or more; `None` where it is absent or wrong.
    pub(super) fn seconds(&mut self, key: &str, remedy: &str) -> Option<u64> {
        let value = self.value(key).filter(|value| !value.is_null())?;
        let seconds = value.as_u64().or_else(|| whole(value));
        if seconds.is_none() {
            let what = match value {
                Value::Number(number) => format!("is {number}, not a whole number of seconds"),
                _ => "is not a number of seconds".to_owned(),
            };
            self.error(key, &format!("{what}; {remedy}"));
        }
        seconds
    }

    /// A TCP port, 0 included; `None` where it is absent or wrong.
    pub(super) fn port(&mut self, key: &str, remedy: &str) -> Option<u16> {
        let value = self.value(key).filter(|value| !value.is_null())?;
        let number = value.as_u64().or_else(|| whole(value));
        let port = number.and_then(|number| u16::try_from(number).ok());
        if port.is_none() {
            let what = match value {
                Value::Number(number) => format!("is {number}, not a port from 0 to 65535"),
                _ => "is not a number of a port".to_owned(),
            };
            self.error(key, &format!("{what}; {remedy}"));
        }
        port
    }

    /// A whole number; `None` where it is absent or wrong.
    pub(super) fn whole(&mut self, key: &str, remedy: &str) -> Option<u64> {
        let value = self.value(key).filter(|value| !value.is_null())?;
        let number = value.as_u64().or_else(|| whole(value));
        if number.is_none() {
            self.error(key, &format!("is not a whole number from 0 on; {remedy}"));
        }
        number
    }

    /// An object; `None` where it is absent or wrong.
    pub(super) fn object(&mut self, key: &str, remedy: &str) -> Option<&'a Map<String, Value>> {
        let value = self.value(key).filter(|value| !value.is_null())?;
        let object = value.as_object();
        if object.is_none() {
            self.error(key, &format!("is not an object; {remedy}"));
        }
        object
    }

    /// Notes a mistake of one key that makes it unusable.
    pub(super) fn error(&mut self, key: &str, text: &str) {
        self.findings.error(self.path.member(key), text);
    }

    /// Notes a mistake of one key that can be lived with.
    pub(super) fn warn(&mut self, key: &str, text: &str) {
        self.findings.warning(self.path.member(key), text);
    }

    /// Notes a mistake of the whole object.
    pub(super) fn whole_error(&mut self, text: &str) {
        self.findings.error(self.path.clone(), text);
    }

    /// Notes something about the whole object that can be lived with.
    pub(super) fn whole_warning(&mut self, text: &str) {
        self.findings.warning(self.path.clone(), text);
    }

    /// Notes every key that nobody asks for, and those in another letter case.
    pub(super) fn finish(self) {
        for written in self.members.keys() {
            if self.keys.contains(&written.as_str()) {
                continue;
            }
            let text = match self.keys.iter().find(|key| key.eq_ignore_ascii_case(written)) {
                Some(key) if self.members.contains_key(*key) => {
                    format!("is ignored, because {key} is there too; remove it")
                }
                Some(key) => format!("is taken for {key}; write it so"),
                None => match nearest(written, self.keys) {
                    Some(key) => format!("unknown key, which is ignored; did you mean {key}?"),
                    None => "unknown key, which is ignored; remove it".to_owned(),
                },
            };
            self.findings.warning(self.path.member(written), &text);
        }
    }

    fn value(&self, key: &str) -> Option<&'a Value> {
        self.members.get(key).or_else(|| {
            self.members.iter().find(|(written, _)| written.eq_ignore_ascii_case(key)).map(|(_, value)| value)
        })
    }
}

/// `60.0`, which Orthanc's own reader takes for 60.
fn whole(value: &Value) -> Option<u64> {
    // Rust writes a float without a fraction as an integer.
    value.as_f64()?.to_string().parse().ok()
}

/// The known key that `written` was probably meant to be.
fn nearest(written: &str, keys: &[&'static str]) -> Option<&'static str> {
    let likeness = |key: &str| strsim::jaro_winkler(&written.to_lowercase(), &key.to_lowercase());
    let (key, best) = keys.iter().map(|key| (*key, likeness(key))).max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    (best > 0.8).then_some(key)
}
