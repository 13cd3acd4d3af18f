//! Reading a credential's JSON file, with a sentence for everything that can be wrong with it.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Map, Value};
use url::Url;

use crate::{Failure, Secret, World};

/// A JSON object that describes a credential, and where it stands.
pub(crate) struct CredentialFile {
    option: &'static str,
    /// The path, and the member within the file where it is not the whole.
    place: String,
    members: Map<String, Value>,
    exposed: Option<ExposedFile>,
}

/// A credential's file that every user of the machine may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExposedFile {
    /// The configuration option that names it.
    pub option: &'static str,
    /// Where it is.
    pub path: PathBuf,
}

/// The types of a credential file (AIP-4110), and the option that takes nothing else.
const TYPES: [(&str, &str); 5] = [
    ("service_account", "ServiceAccountFile"),
    ("authorized_user", "AuthorizedUserFile"),
    ("external_account", "CredentialsFile"),
    ("external_account_authorized_user", "CredentialsFile"),
    ("impersonated_service_account", "CredentialsFile"),
];
/// A file may be met while it is being written: so often is it read again before it is taken as it is,
const READS: u32 = 3;
/// and after this pause.
const PAUSE_BETWEEN_READS: Duration = Duration::from_secs(1);

impl CredentialFile {
    /// Reads the file `path`, which the option `option` named.
    ///
    /// A file that is empty or breaks off is read again after a moment: it is no mistake until it stays so.
    pub(crate) async fn read(world: &dyn World, option: &'static str, path: &Path) -> Result<Self, Failure> {
        for _ in 1..READS {
            match Self::read_once(world, option, path) {
                Err(Unreadable { perhaps_half_written: true, .. }) => world.sleep(PAUSE_BETWEEN_READS).await,
                outcome => return outcome.map_err(|unreadable| unreadable.failure),
            }
        }
        Self::read_once(world, option, path).map_err(|unreadable| unreadable.failure)
    }

    /// The file at `path` as it is now, if it can be read.
    pub(crate) fn glance(world: &dyn World, path: &Path) -> Option<Self> {
        Self::read_once(world, "", path).ok()
    }

    fn read_once(world: &dyn World, option: &'static str, path: &Path) -> Result<Self, Unreadable> {
        let place = path.display().to_string();
        let content = world.read_file(path).map_err(|error| {
            let remedy = match error.kind() {
                io::ErrorKind::NotFound => {
                    "put the file there, or correct the path (a relative one starts at Orthanc's working directory)"
                }
                io::ErrorKind::PermissionDenied => {
                    "let the user that runs Orthanc read it (for example `chown orthanc` and `chmod 600`)"
                }
                _ => "give the path of a JSON file that Orthanc can read",
            };
            Unreadable {
                failure: Failure::of_option(option, format!("{place} cannot be read: {error}"), remedy),
                perhaps_half_written: false,
            }
        })?;
        let wrong = |what: String, perhaps_half_written: bool| {
            let remedy = "it has to be the JSON file of a credential, as Google's tools write it";
            Unreadable {
                failure: Failure::of_option(option, format!("{place} {what}"), remedy),
                perhaps_half_written,
            }
        };
        let bytes = content.bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&content.bytes);
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(wrong("is empty".to_owned(), true));
        }
        let members = match serde_json::from_slice(bytes) {
            Ok(Value::Object(members)) => members,
            Ok(other) => return Err(wrong(format!("holds {}, not a JSON object", kind_of(&other)), false)),
            Err(error) if error.is_eof() => {
                let (line, column) = (error.line(), error.column());
                let what = format!("breaks off in the middle of its JSON (line {line}, column {column})");
                return Err(wrong(what, true));
            }
            // The message names line and column, and quotes nothing of the file.
            Err(error) => return Err(wrong(format!("is not JSON ({error})"), false)),
        };
        let exposed = content.readable_by_others.then(|| ExposedFile { option, path: path.to_owned() });
        Ok(Self { option, place, members, exposed })
    }

    /// The `type`, where there is one.
    pub(crate) fn kind(&self) -> Result<Option<&str>, Failure> {
        self.optional("type")
    }

    /// An object within this one that has to be there.
    pub(crate) fn object(&self, name: &str) -> Result<Self, Failure> {
        let members = match self.members.get(name) {
            Some(Value::Object(members)) => members.clone(),
            None | Some(Value::Null) => return Err(self.wrong(&format!("lacks `{name}`"))),
            Some(other) => {
                return Err(self.wrong(&format!("holds {} as `{name}`, not an object", kind_of(other))));
            }
        };
        let place = format!("{}, in `{name}`,", self.place);
        Ok(Self { option: self.option, place, members, exposed: None })
    }

    /// Whether a member is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.members.get(name).is_some_and(|value| !value.is_null())
    }

    /// A member as it stands.
    pub(crate) fn value(&self, name: &str) -> Option<&Value> {
        self.members.get(name)
    }

    /// The configuration option that named the file.
    pub(crate) fn option(&self) -> &'static str {
        self.option
    }

    /// A member that has to be there, as a string that is not empty.
    pub(crate) fn mandatory(&self, name: &str) -> Result<&str, Failure> {
        match self.optional(name)? {
            Some(text) => Ok(text),
            None => Err(self.wrong(&format!("lacks `{name}`"))),
        }
    }

    /// A mandatory member that is a secret.
    pub(crate) fn secret(&self, name: &str) -> Result<Secret, Failure> {
        self.mandatory(name).map(Secret::new)
    }

    /// A member that may be missing, but is a string that is not empty where it stands.
    pub(crate) fn optional(&self, name: &str) -> Result<Option<&str>, Failure> {
        match self.members.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.trim().is_empty() => {
                Err(self.wrong(&format!("holds an empty `{name}`")))
            }
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(&format!("holds {} as `{name}`, not a string", kind_of(other)))),
        }
    }

    /// A member that tokens can be had without: whatever is no text in it is passed over.
    pub(crate) fn extra(&self, name: &str) -> Option<String> {
        let text = self.members.get(name)?.as_str()?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// `token_uri`, which may be missing.
    pub(crate) fn token_uri(&self) -> Result<Option<String>, Failure> {
        let Some(written) = self.optional("token_uri")? else { return Ok(None) };
        if Url::parse(written).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) {
            return Ok(Some(written.to_owned()));
        }
        Err(self.wrong("holds a `token_uri` that is no address of an HTTP server"))
    }

    /// A member that may be missing, but is a list of strings where it stands.
    pub(crate) fn strings(&self, name: &str) -> Result<Vec<String>, Failure> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        match self.members.get(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(values)) => values
                .iter()
                .map(text)
                .collect::<Option<_>>()
                .ok_or_else(|| self.wrong(&format!("holds something else than strings in `{name}`"))),
            Some(other) => Err(self.wrong(&format!("holds {} as `{name}`, not an array", kind_of(other)))),
        }
    }

    /// The file, if users other than its owner and group may read it.
    pub(crate) fn exposed(&self) -> Option<ExposedFile> {
        self.exposed.clone()
    }

    /// A mistake in the file, described without quoting it.
    pub(crate) fn wrong(&self, what: &str) -> Failure {
        Failure::of_option(
            self.option,
            format!("{} {what}", self.place),
            "create the file again with Google's tools and do not edit it",
        )
    }

    /// Refuses a credential of another type than `expected`, and says which option takes it. A file without `type` will
    /// do, as it did for the C++ plugin.
    pub(crate) fn expect_type(&self, expected: &str) -> Result<(), Failure> {
        match self.kind()? {
            Some(found) if found == expected => Ok(()),
            Some(found) => Err(self.of_another_type(found, expected)),
            None => self.check_untyped(),
        }
    }

    fn of_another_type(&self, found: &str, expected: &str) -> Failure {
        let remedy = if let Some((_, option)) = TYPES.iter().find(|(name, _)| *name == found) {
            format!("name the file with the option {option} instead of {}", self.option)
        } else {
            unknown_type_remedy()
        };
        let cause = format!("{} is a credential of type `{found}`, not `{expected}`", self.place);
        Failure::of_option(self.option, cause, remedy)
    }

    /// For a `type` that nobody takes.
    pub(crate) fn of_unknown_type(&self, found: &str) -> Failure {
        let why = if found == "gdch_service_account" {
            ": Google Distributed Cloud has no Healthcare API"
        } else {
            ", which is unknown"
        };
        let cause = format!("{} is a credential of type `{found}`{why}", self.place);
        Failure::of_option(self.option, cause, unknown_type_remedy())
    }

    /// Refuses what has no `type`, two well-known files among it that hold no credential at all.
    pub(crate) fn check_untyped(&self) -> Result<(), Failure> {
        let place = &self.place;
        if self.has("token") && !self.has("refresh_token") {
            return Err(Failure::of_option(
                self.option,
                format!(
                    "{place} holds an access token alone, which is over after an hour: `gcloud auth print-access-token` no longer writes the rest"
                ),
                "run `gcloud auth application-default login` and name ~/.config/gcloud/application_default_credentials.json with AuthorizedUserFile",
            ));
        }
        if self.has("installed") || self.has("web") {
            return Err(Failure::of_option(
                self.option,
                format!("{place} describes an OAuth client, and nobody who logged in with it"),
                "run `gcloud auth application-default login --client-id-file` with this file, and name the file it writes with AuthorizedUserFile",
            ));
        }
        Ok(())
    }
}

/// Why a file gave no object, and whether it may be met in the middle of being written.
struct Unreadable {
    failure: Failure,
    perhaps_half_written: bool,
}

fn unknown_type_remedy() -> String {
    let known: Vec<&str> = TYPES.iter().map(|(name, _)| *name).collect();
    format!("use a credential of one of the types {}", known.join(", "))
}

/// A JSON value's kind, in words.
fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
