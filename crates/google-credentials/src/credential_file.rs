//! Reading a credential's JSON file, with a sentence for everything that can be wrong with it.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};
use url::Url;

use crate::{Failure, Secret, World};

/// A JSON object that holds a credential, and the configuration option that named it.
pub(crate) struct CredentialFile<'a> {
    option: &'static str,
    path: &'a Path,
    members: Map<String, Value>,
    readable_by_others: bool,
}

/// A credential's file that every user of the machine may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExposedFile {
    /// The configuration option that names it.
    pub option: &'static str,
    /// Where it is.
    pub path: PathBuf,
}

/// The `type` of a credential file (AIP-4110), and the option that takes it.
const TYPES: [(&str, &str); 2] =
    [("service_account", "ServiceAccountFile"), ("authorized_user", "AuthorizedUserFile")];

impl<'a> CredentialFile<'a> {
    /// Reads `path` as a credential of the given `type`, as the option `option` asked for.
    pub(crate) fn read(
        world: &dyn World,
        option: &'static str,
        path: &'a Path,
        expected_type: &str,
    ) -> Result<Self, Failure> {
        let shown = path.display();
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
            Failure::of_option(option, format!("{shown} cannot be read: {error}"), remedy)
        })?;
        let file = |members| Self { option, path, members, readable_by_others: content.readable_by_others };
        let wrong = |what: String| {
            Failure::of_option(
                option,
                format!("{shown} {what}"),
                format!(
                    "it has to be the JSON file of a credential of type `{expected_type}`, as Google's tools write it"
                ),
            )
        };
        let bytes = content.bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&content.bytes);
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(wrong("is empty".to_owned()));
        }
        let file = match serde_json::from_slice(bytes) {
            Ok(Value::Object(members)) => file(members),
            Ok(other) => return Err(wrong(format!("holds {}, not a JSON object", kind_of(&other)))),
            Err(error) if error.is_eof() => {
                return Err(wrong(format!(
                    "breaks off in the middle of its JSON (line {}, column {})",
                    error.line(),
                    error.column()
                )));
            }
            // The message names line and column, and quotes nothing of the file.
            Err(error) => return Err(wrong(format!("is not JSON ({error})"))),
        };
        file.check_type(expected_type)?;
        Ok(file)
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

    /// `token_uri`, which may be missing.
    pub(crate) fn token_uri(&self) -> Result<Option<String>, Failure> {
        let Some(written) = self.optional("token_uri")? else { return Ok(None) };
        if Url::parse(written).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) {
            return Ok(Some(written.to_owned()));
        }
        Err(self.wrong("holds a `token_uri` that is no address of an HTTP server"))
    }

    /// The file, if users other than its owner and group may read it.
    pub(crate) fn exposed(&self) -> Option<ExposedFile> {
        self.readable_by_others.then(|| ExposedFile { option: self.option, path: self.path.to_owned() })
    }

    /// A mistake in the file, described without quoting it.
    pub(crate) fn wrong(&self, what: &str) -> Failure {
        Failure::of_option(
            self.option,
            format!("{} {what}", self.path.display()),
            "create the file again with Google's tools and do not edit it",
        )
    }

    fn check_type(&self, expected: &str) -> Result<(), Failure> {
        let found = match self.members.get("type") {
            Some(Value::String(found)) if found == expected => return Ok(()),
            Some(Value::String(found)) => found,
            Some(other) => {
                return Err(self.wrong(&format!("holds {} as `type`, not a string", kind_of(other))));
            }
            None => return self.check_untyped(),
        };
        let remedy = if let Some((_, option)) = TYPES.iter().find(|(name, _)| name == found) {
            format!("name the file with the option {option} instead of {}", self.option)
        } else {
            let known = TYPES.map(|(name, option)| format!("{option} takes `{name}`")).join(", ");
            format!("use a credential of another type: {known}")
        };
        let cause = format!("{} is a credential of type `{found}`, not `{expected}`", self.path.display());
        Err(Failure::of_option(self.option, cause, remedy))
    }

    /// A file without `type`: the C++ plugin took them, but two well-known ones hold no credential at all.
    fn check_untyped(&self) -> Result<(), Failure> {
        let shown = self.path.display();
        if self.members.contains_key("token") && !self.members.contains_key("refresh_token") {
            return Err(Failure::of_option(
                self.option,
                format!(
                    "{shown} holds an access token alone, which is over after an hour: `gcloud auth print-access-token` no longer writes the rest"
                ),
                "run `gcloud auth application-default login` and name ~/.config/gcloud/application_default_credentials.json with AuthorizedUserFile",
            ));
        }
        if self.members.contains_key("installed") || self.members.contains_key("web") {
            return Err(Failure::of_option(
                self.option,
                format!("{shown} describes an OAuth client, and nobody who logged in with it"),
                "run `gcloud auth application-default login --client-id-file` with this file, and name the file it writes with AuthorizedUserFile",
            ));
        }
        Ok(())
    }
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
