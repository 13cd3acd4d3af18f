//! Reading a credential's JSON file, with a sentence for everything that can be wrong with it.

mod encoding;
mod members;

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;
use url::Url;

use crate::{
    Failure, Secret, World,
    endpoint_rule::EndpointRule,
    quoted::{credential_in, quoted, shown_path},
};
pub(crate) use encoding::base64;
use members::{Members, NoObject};

/// A JSON object that describes a credential, and where it stands.
pub(crate) struct CredentialFile {
    option: &'static str,
    /// The path, and the member within the file where it is not the whole.
    place: String,
    members: Members,
    rule: EndpointRule,
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
    /// Reads the file `path`, which the option `option` named; `rule` says where it may send a credential.
    ///
    /// A file that is empty or breaks off is read again after a moment: it is no mistake until it stays so.
    pub(crate) async fn read(
        world: &dyn World,
        option: &'static str,
        path: &Path,
        rule: &EndpointRule,
    ) -> Result<Self, Failure> {
        for _ in 1..READS {
            match Self::read_once(world, option, path, rule) {
                Err(Unreadable { perhaps_half_written: true, .. }) => world.sleep(PAUSE_BETWEEN_READS).await,
                outcome => return outcome.map_err(|unreadable| unreadable.failure),
            }
        }
        Self::read_once(world, option, path, rule).map_err(|unreadable| unreadable.failure)
    }

    /// The file at `path` as it is now, if it can be read.
    pub(crate) fn glance(world: &dyn World, path: &Path, rule: &EndpointRule) -> Option<Self> {
        Self::read_once(world, "", path, rule).ok()
    }

    fn read_once(
        world: &dyn World,
        option: &'static str,
        path: &Path,
        rule: &EndpointRule,
    ) -> Result<Self, Unreadable> {
        let place = shown_path(path);
        let content = world.read_file(path).map_err(|error| unreadable(option, path, &error))?;
        if content.writable_by_others {
            return Err(Unreadable::of(Failure::of_option(
                option,
                format!(
                    "{place} is writable by its group or by every user of this machine, who could replace the credential"
                ),
                format!("run `chmod go-w {place}`"),
            )));
        }
        let wrong = |what: &str, perhaps_half_written: bool| {
            let remedy = "it has to be the JSON file of a credential, as Google's tools write it";
            let failure = Failure::of_option(option, format!("{place} {what}"), remedy);
            Unreadable { failure, perhaps_half_written }
        };
        if content.bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(wrong("is empty", true));
        }
        let decoded = encoding::decode(&content.bytes).map_err(|what| wrong(what, false))?;
        let members = Members::parse(&decoded.json).map_err(|reason| match reason {
            NoObject::Other(kind) => wrong(&format!("holds {kind}, not a JSON object"), false),
            NoObject::Syntax(error) if error.is_eof() => {
                let (line, column) = (error.line(), error.column());
                wrong(&format!("breaks off in the middle of its JSON (line {line}, column {column})"), true)
            }
            NoObject::Syntax(error) => {
                let (line, column) = (error.line(), error.column());
                wrong(&format!("is not JSON (line {line}, column {column})"), false)
            }
            NoObject::TooDeep => wrong("is nested deeper than a credential", false),
        })?;
        let place = match decoded.form {
            Some(form) => format!("{place} (read as {form})"),
            None => place,
        };
        let exposed = content.readable_by_others.then(|| ExposedFile { option, path: path.to_owned() });
        let file = Self { option, place, members, rule: rule.clone(), exposed };
        file.check_universe().map_err(Unreadable::of)?;
        Ok(file)
    }

    /// The `type`, where there is one.
    pub(crate) fn kind(&self) -> Result<Option<&str>, Failure> {
        self.optional("type")
    }

    /// An object within this one that has to be there.
    pub(crate) fn object(&self, name: &str) -> Result<Self, Failure> {
        match self.optional_object(name)? {
            Some(object) => Ok(object),
            None => Err(self.wrong(&format!("lacks `{name}`"))),
        }
    }

    /// An object within this one that may be missing.
    pub(crate) fn optional_object(&self, name: &str) -> Result<Option<Self>, Failure> {
        if let Some(members) = self.members.objects.get(name) {
            let place = format!("{}, in `{name}`,", self.place);
            let (members, rule) = (members.clone(), self.rule.clone());
            let object = Self { option: self.option, place, members, rule, exposed: None };
            object.check_universe()?;
            return Ok(Some(object));
        }
        match self.members.kind_of(name) {
            None => Ok(None),
            Some(kind) => Err(self.wrong(&format!("holds {kind} as `{name}`, not an object"))),
        }
    }

    /// Whether a member is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.members.kind_of(name).is_some()
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
        match self.optional_secret(name)? {
            Some(secret) => Ok(secret),
            None => Err(self.wrong(&format!("lacks `{name}`"))),
        }
    }

    /// A secret that may be missing, but is a string that is not empty where it stands.
    pub(crate) fn optional_secret(&self, name: &str) -> Result<Option<Secret>, Failure> {
        match self.members.secrets.get(name) {
            Some(secret) if secret.expose().trim().is_empty() => {
                Err(self.wrong(&format!("holds an empty `{name}`")))
            }
            Some(secret) => Ok(Some(secret.clone())),
            None => self.optional(name).map(|_| None),
        }
    }

    /// The secrets of this object, by name.
    pub(crate) fn secrets(&self) -> Vec<(String, Secret)> {
        self.members.secrets.iter().map(|(name, secret)| (name.clone(), secret.clone())).collect()
    }

    /// The names of all members that are no secret.
    pub(crate) fn has_others_than_secrets(&self) -> bool {
        !self.members.values.is_empty() || !self.members.objects.is_empty()
    }

    /// A member that may be missing, but is a string that is not empty where it stands.
    pub(crate) fn optional(&self, name: &str) -> Result<Option<&str>, Failure> {
        match self.members.values.get(name) {
            Some(Value::String(text)) if text.trim().is_empty() => {
                Err(self.wrong(&format!("holds an empty `{name}`")))
            }
            Some(Value::String(text)) => Ok(Some(text)),
            _ => match self.members.kind_of(name) {
                None => Ok(None),
                Some(kind) => Err(self.wrong(&format!("holds {kind} as `{name}`, not a string"))),
            },
        }
    }

    /// A number of seconds or the like that may be missing, but is a whole number where it stands.
    pub(crate) fn whole_number(&self, name: &str) -> Result<Option<u64>, Failure> {
        let number = self.members.values.get(name).and_then(Value::as_u64);
        match (number, self.members.kind_of(name)) {
            (None, Some(_)) => Err(self.wrong(&format!("holds no whole number as `{name}`"))),
            (number, _) => Ok(number),
        }
    }

    /// A member that tokens can be had without: whatever is no text in it is passed over.
    pub(crate) fn extra(&self, name: &str) -> Option<String> {
        let text = self.members.values.get(name)?.as_str()?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// `quota_project_id`, which becomes a header field.
    pub(crate) fn quota_project(&self) -> Result<Option<String>, Failure> {
        const NAME: &str = "quota_project_id";
        let project = self.extra(NAME);
        if project.as_ref().is_some_and(|project| !project.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(self.wrong(&format!("holds a `{NAME}` that is no project")));
        }
        Ok(project)
    }

    /// The address of an HTTP server, which may be missing.
    pub(crate) fn address(&self, name: &str) -> Result<Option<(String, Url)>, Failure> {
        let Some(written) = self.optional(name)? else { return Ok(None) };
        let plain = |letter: char| letter.is_ascii_graphic() && letter != '\\';
        let url = Url::parse(written).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.filter(|url| url.has_host() && written.chars().all(plain));
        let wrong = || self.wrong(&format!("holds a `{name}` that is no address of an HTTP server"));
        let url = url.ok_or_else(wrong)?;
        Ok(Some((written.to_owned(), url)))
    }

    /// The token endpoint of member `name`, which may be missing. Where `TokenUri` takes its place, it may be any address.
    pub(crate) fn token_endpoint(&self, name: &str) -> Result<Option<String>, Failure> {
        let Some((written, url)) = self.address(name)? else { return Ok(None) };
        if !self.rule.has_token_uri() {
            self.check_endpoint(name, &url, "TokenUri to that address")?;
        }
        Ok(Some(written))
    }

    /// Refuses an address that neither Google nor the configuration names: a credential would be sent there. `allow` says what to
    /// set to have it so.
    pub(crate) fn check_endpoint(&self, name: &str, url: &Url, allow: &str) -> Result<(), Failure> {
        if !url.username().is_empty() || url.password().is_some() {
            return Err(self.wrong(&format!("holds a user or a password in its `{name}`")));
        }
        if self.rule.allows(url) {
            return Ok(());
        }
        let scheme = if url.scheme() == "http" { " over plain HTTP" } else { "" };
        let host = quoted(url.host_str().unwrap_or_default());
        let cause = format!(
            "{} would send the credential to {host}{scheme}, which its `{name}` names and which is not one of Google's token servers",
            self.place
        );
        let remedy = format!(
            "create the file again with Google's tools; only if that server is your own, set {allow} in the configuration"
        );
        Err(Failure::of_option(self.option, cause, remedy))
    }

    /// Refuses a credential of another universe than the account's: images and tokens would go there.
    fn check_universe(&self) -> Result<(), Failure> {
        const NAME: &str = "universe_domain";
        let Some(named) = self.optional(NAME).or_else(|failure| match self.members.values.get(NAME) {
            Some(Value::String(_)) => Ok(None),
            _ => Err(failure),
        })?
        else {
            return Ok(());
        };
        let ours = &self.rule.universe_domain;
        if named.trim().eq_ignore_ascii_case(ours) {
            return Ok(());
        }
        let cause = format!(
            "the account's universe is {ours}, but {} has {} as its `{NAME}`",
            self.place,
            quoted(named.trim())
        );
        let remedy = "if the credential is for a Google cloud of that domain, set UniverseDomain to it; otherwise use a credential of the account's own universe";
        Err(Failure::of_option("UniverseDomain", cause, remedy))
    }

    /// A member that may be missing, but is a list of strings where it stands.
    pub(crate) fn strings(&self, name: &str) -> Result<Vec<String>, Failure> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        match (self.members.values.get(name), self.members.kind_of(name)) {
            (_, None) => Ok(Vec::new()),
            (Some(Value::Array(values)), _) => values
                .iter()
                .map(text)
                .collect::<Option<_>>()
                .ok_or_else(|| self.wrong(&format!("holds something else than strings in `{name}`"))),
            (_, Some(kind)) => Err(self.wrong(&format!("holds {kind} as `{name}`, not an array"))),
        }
    }

    /// The file, if users other than its owner and group may read it.
    pub(crate) fn exposed(&self) -> Option<ExposedFile> {
        self.exposed.clone()
    }

    /// A mistake in the file, described without quoting it.
    pub(crate) fn wrong(&self, what: &str) -> Failure {
        self.wrong_with(what, "create the file again with Google's tools and do not edit it")
    }

    /// The same with a remedy of its own.
    pub(crate) fn wrong_with(&self, what: &str, remedy: &str) -> Failure {
        Failure::of_option(self.option, format!("{} {what}", self.place), remedy)
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
        let cause = format!("{} is a credential of type {}, not `{expected}`", self.place, quoted(found));
        Failure::of_option(self.option, cause, remedy)
    }

    /// For a `type` that nobody takes.
    pub(crate) fn of_unknown_type(&self, found: &str) -> Failure {
        let why = if found == "gdch_service_account" {
            ": Google Distributed Cloud has no Healthcare API"
        } else {
            ", which is unknown"
        };
        let cause = format!("{} is a credential of type {}{why}", self.place, quoted(found));
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

impl Unreadable {
    fn of(failure: Failure) -> Self {
        Self { failure, perhaps_half_written: false }
    }
}

/// Why the operating system gave no content.
fn unreadable(option: &'static str, path: &Path, error: &io::Error) -> Unreadable {
    if let Some(what) = path.to_str().and_then(credential_in) {
        let cause = format!("holds the credential itself, not a path: it looks like {what}");
        let remedy = "write it to a file that Orthanc alone can read, and give the path of that file; if others may have seen it, replace the credential";
        return Unreadable::of(Failure::of_option(option, cause, remedy));
    }
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => {
            "put the file there, or correct the path (a relative one starts at Orthanc's working directory)"
        }
        io::ErrorKind::PermissionDenied => {
            "let the user that runs Orthanc read it (for example `chown orthanc` and `chmod 600`)"
        }
        _ => "give the path of a JSON file that Orthanc can read",
    };
    let cause = format!("{} cannot be read: {error}", shown_path(path));
    Unreadable::of(Failure::of_option(option, cause, remedy))
}

fn unknown_type_remedy() -> String {
    let known: Vec<&str> = TYPES.iter().map(|(name, _)| *name).collect();
    format!("use a credential of one of the types {}", known.join(", "))
}
