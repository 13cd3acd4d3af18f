//! Something wrong in the configuration: where, what, and what to do.

use std::{borrow::Cow, fmt};

/// How much a mistake costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// An account or an option cannot be used.
    Error,
    /// It works, perhaps not as it was meant.
    Warning,
}

/// Something wrong in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it costs.
    pub severity: Severity,
    /// Of which key it speaks. The key itself may be absent: then that is what is wrong.
    pub path: KeyPath,
    /// What is wrong with it, and what to do.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, printable(&self.text))
    }
}

/// Where a key stands; shown as `GoogleCloudPlatform.Accounts.hospital.Project`. Names of accounts may hold dots, so that
/// what is shown cannot be taken apart again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPath(Vec<String>);

impl KeyPath {
    /// The keys from the outermost object inwards.
    pub fn of<'a>(keys: impl IntoIterator<Item = &'a str>) -> Self {
        Self(keys.into_iter().map(str::to_owned).collect())
    }

    /// The path of a member of the object that stands here.
    #[must_use]
    pub fn member(&self, key: &str) -> Self {
        let mut keys = self.0.clone();
        keys.push(key.to_owned());
        Self(keys)
    }

    /// The keys, from the outermost object inwards.
    pub fn keys(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.0.join(".")))
    }
}

/// What may hold anything, fit for a line of a terminal or a log: a line break or another control character is shown as its
/// escape, `\n` or `\u{1b}`.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let shown = text.chars().map(|letter| match letter {
        letter if letter.is_control() => letter.escape_default().to_string(),
        letter => letter.to_string(),
    });
    Cow::Owned(shown.collect())
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    pub(super) fn error(&mut self, path: KeyPath, text: &str) {
        self.0.push(Finding { severity: Severity::Error, path, text: text.to_owned() });
    }

    pub(super) fn warning(&mut self, path: KeyPath, text: &str) {
        self.0.push(Finding { severity: Severity::Warning, path, text: text.to_owned() });
    }

    pub(super) fn into_vec(self) -> Vec<Finding> {
        self.0
    }
}
