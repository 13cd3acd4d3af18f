//! The configuration's files, read and merged as Orthanc does it.
//!
//! A folder stands for its files that end in `.json`, without those of its subfolders. The variables of the environment are
//! replaced, the JSON is read, and the keys of all files become one document. A key in two files keeps Orthanc from
//! starting, and so does whatever [`read`] fails for.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use orthanc_gcp_configuration::{CREDENTIAL_AS_CONFIGURATION, KeyPath, is_credential};
use serde_json::{Map, Value};

use crate::{
    json::{self, Document},
    variables::{self, Substituted},
};

/// The configuration as Orthanc sees it, and where everything stands.
#[derive(Debug)]
pub(crate) struct Files {
    /// The keys of all files.
    pub(crate) document: Map<String, Value>,
    files: Vec<File>,
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    original: String,
    substituted: Substituted,
    keys: BTreeMap<Vec<String>, usize>,
    twice: Vec<(Vec<String>, usize)>,
    control: Option<usize>,
    behind: Option<usize>,
}

/// A place in a file, as editors count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The file, as it was named.
    pub(crate) file: PathBuf,
    /// From 1.
    pub(crate) line: usize,
    /// From 1, in characters.
    pub(crate) column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// Why Orthanc could not read its configuration, and what to do.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The path itself.
    Unreadable { path: PathBuf, cause: String, remedy: &'static str },
    /// A file's text.
    Syntax { place: Place, what: String },
    /// Two files' keys.
    InTwoFiles { key: String, first: Place, second: Place },
    /// A credential file whose keys stand in another file as well.
    Credential { key: String, place: Place },
}

impl ReadError {
    /// The file or folder, and the place in it.
    pub(crate) fn place(&self) -> (&Path, Option<&Place>) {
        match self {
            Self::Unreadable { path, .. } => (path, None),
            Self::Syntax { place, .. }
            | Self::InTwoFiles { second: place, .. }
            | Self::Credential { place, .. } => (&place.file, Some(place)),
        }
    }

    /// What is wrong there.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Unreadable { cause, remedy, .. } => format!("{cause}; {remedy}"),
            Self::Syntax { what, .. } => what.clone(),
            Self::InTwoFiles { key, first, .. } => format!(
                "`{key}` stands in {first} as well, so that Orthanc does not start; keep it in one file"
            ),
            Self::Credential { key, .. } => format!("`{key}` {CREDENTIAL_AS_CONFIGURATION}"),
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place() {
            (_, Some(place)) => write!(f, "{place}: {}", self.text()),
            (file, None) => write!(f, "{}: {}", file.display(), self.text()),
        }
    }
}

/// Something odd in the files themselves, which Orthanc lives with.
#[derive(Debug)]
pub(crate) struct Oddity {
    pub(crate) place: Place,
    pub(crate) text: String,
}

/// Reads files and folders, with variables from `env`; or everything that keeps them from being read.
pub(crate) fn read(paths: &[PathBuf], env: impl Fn(&str) -> Option<String>) -> Result<Files, Vec<ReadError>> {
    let mut files = Files { document: Map::new(), files: Vec::new() };
    let mut errors = Vec::new();
    for path in paths {
        let found = files_of(path).unwrap_or_else(|error| {
            errors.push(error);
            Vec::new()
        });
        for path in found {
            match File::read(path, &env) {
                Ok((file, members)) => errors.extend(files.add(file, members)),
                Err(error) => errors.push(error),
            }
        }
    }
    if errors.is_empty() { Ok(files) } else { Err(errors) }
}

impl Files {
    /// Where a key stands, or else the innermost object that it would belong to; `None` where no file has even that.
    pub(crate) fn place(&self, path: &KeyPath) -> Option<Place> {
        let path = path.keys();
        (1..=path.len()).rev().find_map(|length| {
            let wanted = path.get(..length)?;
            self.files.iter().find_map(|file| Some(file.place(file.key(wanted)?)))
        })
    }

    /// What is odd: keys given twice, control characters, text behind the end, and variables of `section` that are not set.
    pub(crate) fn oddities(&self, section: &str) -> Vec<Oddity> {
        self.files.iter().flat_map(|file| file.oddities(section)).collect()
    }

    /// Adds a file's keys, and gives those that stand in an earlier file.
    fn add(&mut self, file: File, members: Map<String, Value>) -> Vec<ReadError> {
        let mut twice = Vec::new();
        // One sentence for the file instead of one for each of its keys.
        let credential =
            is_credential(&members).filter(|_| members.keys().any(|key| self.document.contains_key(key)));
        if let Some(key) = credential.map(str::to_owned) {
            let place = file.place(file.keys.get(std::slice::from_ref(&key)).copied().unwrap_or_default());
            return vec![ReadError::Credential { key, place }];
        }
        for (key, value) in members {
            if self.document.contains_key(&key) {
                let path = [key.clone()];
                let first =
                    self.files.iter().find_map(|other| Some(other.place(*other.keys.get(&path[..])?)));
                let second = file.place(file.keys.get(&path[..]).copied().unwrap_or_default());
                let first = first.unwrap_or_else(|| second.clone());
                twice.push(ReadError::InTwoFiles { key, first, second });
            } else {
                self.document.insert(key, value);
            }
        }
        self.files.push(file);
        twice
    }
}

impl File {
    /// Reads a file, with the values of its outermost keys.
    fn read(
        path: PathBuf,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<(Self, Map<String, Value>), ReadError> {
        let bytes = fs::read(&path).map_err(|error| unreadable(&path, &error))?;
        let original = String::from_utf8_lossy(&bytes).into_owned();
        let at =
            |place: usize, what: String| ReadError::Syntax { place: place_in(&path, &original, place), what };
        let substituted = variables::substitute(&original, env).map_err(|no_name| {
            at(no_name.at, "this variable has no name; write ${NAME} or ${NAME:-default}".to_owned())
        })?;
        let parsed = json::parse(&substituted.text).map_err(|error| {
            let place = substituted.original(error.at);
            let within = substituted.pieces.iter().find(|piece| piece.original == place);
            let what = match within {
                Some(piece) => format!("{} (after the value of ${{{}}} was put in)", error.what, piece.name),
                None => error.what.to_owned(),
            };
            at(place, what)
        })?;
        let Document { value: Value::Object(members), keys, twice, control, behind } = parsed else {
            return Err(at(0, "the file holds no JSON object; put everything between { and }".to_owned()));
        };
        Ok((Self { path, original, substituted, keys, twice, control, behind }, members))
    }

    /// A key's place in the substituted text, whatever the case of its letters.
    fn key(&self, wanted: &[String]) -> Option<usize> {
        self.keys.get(wanted).copied().or_else(|| {
            let alike = |path: &[String]| {
                path.len() == wanted.len() && path.iter().zip(wanted).all(|(a, b)| a.eq_ignore_ascii_case(b))
            };
            self.keys.iter().find(|(path, _)| alike(path)).map(|(_, at)| *at)
        })
    }

    fn place(&self, at: usize) -> Place {
        place_in(&self.path, &self.original, self.substituted.original(at))
    }

    fn oddities(&self, section: &str) -> Vec<Oddity> {
        let twice = self.twice.iter().map(|(path, at)| Oddity {
            place: self.place(*at),
            text: format!(
                "{} stands here a second time, and Orthanc takes the last one; remove one",
                path.join(".")
            ),
        });
        let control = self.control.map(|at| Oddity {
            place: self.place(at),
            text: "newer Orthancs refuse a line break or another control character in a string; write \\n, \\t or \\u00… for it".to_owned(),
        });
        let behind = self.behind.map(|at| Oddity {
            place: self.place(at),
            text: "Orthanc reads nothing of what follows the end of the document; remove it, or a closing brace too many".to_owned(),
        });
        let unset = self
            .substituted
            .pieces
            .iter()
            .filter(|piece| piece.is_nothing && self.is_in(section, piece.original));
        let unset = unset.map(|piece| Oddity {
            place: place_in(&self.path, &self.original, piece.original),
            text: format!("${{{0}}} is not set here, and becomes nothing; set it for Orthanc, or write ${{{0}:-default}}", piece.name),
        });
        twice.chain(control).chain(behind).chain(unset).collect()
    }

    /// Whether a place of the file belongs to a key of the outermost object, as far as keys tell.
    fn is_in(&self, key: &str, place: usize) -> bool {
        let outermost = self.keys.iter().filter(|(path, _)| path.len() == 1);
        let mut outermost: Vec<_> =
            outermost.map(|(path, at)| (self.substituted.original(*at), path)).collect();
        outermost.sort();
        let within = outermost.iter().rev().find(|(at, _)| *at <= place);
        within.is_some_and(|(_, path)| path.first().is_some_and(|found| found.eq_ignore_ascii_case(key)))
    }
}

/// The files that a path stands for. Orthanc takes those of a folder in any order; here they are sorted.
fn files_of(path: &Path) -> Result<Vec<PathBuf>, ReadError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = entries.map_err(|error| unreadable(path, &error))?;
    let mut files: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    let is_json =
        |path: &PathBuf| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    files.retain(|path| is_json(path) && !path.is_dir() && path.file_name() != Some(OsStr::new(".json")));
    files.sort();
    if files.is_empty() {
        return Err(ReadError::Unreadable {
            path: path.to_owned(),
            cause: "no file of this folder ends in .json".to_owned(),
            remedy: "name the folder or file that Orthanc is started with",
        });
    }
    Ok(files)
}

fn unreadable(path: &Path, error: &io::Error) -> ReadError {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => "name the file or folder that Orthanc is started with",
        io::ErrorKind::PermissionDenied => {
            "run this as the user that runs Orthanc, such as `sudo -u orthanc`"
        }
        _ => "name a file or folder that can be read",
    };
    ReadError::Unreadable { path: path.to_owned(), cause: format!("it cannot be read ({error})"), remedy }
}

fn place_in(file: &Path, text: &str, at: usize) -> Place {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Place {
        file: file.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
    }
}

#[cfg(test)]
mod as_orthanc;

#[cfg(test)]
mod tests;
