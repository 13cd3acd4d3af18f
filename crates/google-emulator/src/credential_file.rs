//! Credential files of the newer kinds, as Google's tools write them (AIP-4117 and gcloud), pointing at the emulator.

use crate::{
    federation::{Provider, URL_HEADER, delegate_account, target_account},
    files::{write_private, write_private_text},
    identity::PROJECT,
    rsa_key::KeyError,
    sources::{IMDS_ROLE_PATH, IMDS_TOKEN_PATH, IMDS_ZONE_PATH, JSON_FIELD, JSON_PATH, TEXT_PATH},
    sts::{OAUTH_TOKEN_PATH, TOKEN_PATH},
    subject,
    world::World,
};
use serde_json::{Value, json};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const SAML: &str = "urn:ietf:params:oauth:token-type:saml2";
const AWS: &str = "urn:ietf:params:aws:token-type:aws4_request";

/// Where an `external_account` credential takes its subject token from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubjectSource {
    /// A file that holds the token and nothing else.
    TextFile(PathBuf),
    /// A JSON file with the token in its member `access_token`.
    JsonFile(PathBuf),
    /// A file that holds a SAML 2.0 response in base64.
    SamlFile(PathBuf),
    /// A text file for the workforce pool; [`CredentialFile::set`] adds `client_id` and `client_secret` if wanted.
    WorkforceFile(PathBuf),
    /// The emulator's URL, answered as text.
    TextUrl,
    /// The emulator's URL, answered as JSON.
    JsonUrl,
    /// A program and its arguments.
    Executable {
        /// The command line, starting with an absolute path. Clients split it at spaces, and differ about quotation.
        command: String,
        /// Where the program, or whoever ran it before, leaves its answer.
        output_file: Option<PathBuf>,
    },
    /// AWS: the emulator's instance metadata service version 2, or the environment where that has credentials.
    Aws,
}

/// What an `impersonated_service_account` file has inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceCredentials {
    /// The user's credential.
    AuthorizedUser,
    /// The service account's key.
    ServiceAccount,
    /// The workforce session.
    ExternalAccountAuthorizedUser,
}

/// What a subject token is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjectForm {
    /// For [`SubjectSource::TextFile`].
    Text,
    /// For [`SubjectSource::JsonFile`].
    Json,
    /// For [`SubjectSource::SamlFile`].
    Saml,
    /// For [`SubjectSource::WorkforceFile`].
    Workforce,
    /// A program for [`SubjectSource::Executable`], mode 0700.
    Executable,
    /// What that program prints, for its `output_file`.
    ExecutableOutput,
}

/// A credential file that is being put together. It has no `Debug`: it holds secrets.
#[derive(Clone)]
pub struct CredentialFile {
    content: Value,
    impersonation_url: String,
}

impl CredentialFile {
    /// Adds `service_account_impersonation_url`: the token is that of [`Emulator::impersonation_target`](crate::Emulator::impersonation_target).
    #[must_use]
    pub fn impersonating(self) -> Self {
        let url = self.impersonation_url.clone();
        self.set("service_account_impersonation_url", json!(url))
    }

    /// Asks for a life of the impersonated token other than 3600 s.
    #[must_use]
    pub fn token_lifetime_seconds(self, seconds: u64) -> Self {
        self.set("service_account_impersonation", json!({ "token_lifetime_seconds": seconds }))
    }

    /// Puts accounts between source and target, nearest to the source first.
    #[must_use]
    pub fn delegates(self, emails: &[&str]) -> Self {
        let names: Vec<_> =
            emails.iter().map(|email| format!("projects/-/serviceAccounts/{email}")).collect();
        self.set("delegates", json!(names))
    }

    /// Adds or replaces a member; `null` takes it away.
    #[must_use]
    pub fn set(mut self, name: &str, value: Value) -> Self {
        if let Some(object) = self.content.as_object_mut() {
            if value.is_null() {
                object.remove(name);
            } else {
                object.insert(name.to_owned(), value);
            }
        }
        self
    }

    /// The file's content.
    pub fn json(&self) -> Value {
        self.content.clone()
    }

    /// Writes the file with mode 0600.
    ///
    /// # Errors
    ///
    /// Those of writing files.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        write_private(path, &self.content)
    }
}

/// Why a subject token could not be written.
#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    /// No token.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No file.
    #[error("cannot write the subject token: {0}")]
    Write(#[from] io::Error),
}

fn file(world: &World, content: Value) -> CredentialFile {
    let impersonation_url = format!(
        "{}/v1/projects/-/serviceAccounts/{}:generateAccessToken",
        world.https_url(),
        target_account()
    );
    CredentialFile { content, impersonation_url }
}

pub(crate) fn external_account(world: &World, source: &SubjectSource) -> CredentialFile {
    let (provider, kind) = match source {
        SubjectSource::SamlFile(_) => (Provider::Saml, SAML),
        SubjectSource::WorkforceFile(_) => (Provider::Workforce, JWT),
        SubjectSource::Aws => (Provider::Aws, AWS),
        _ => (Provider::Oidc, JWT),
    };
    let http = world.http_url();
    let format = json!({ "type": "json", "subject_token_field_name": JSON_FIELD });
    let headers = json!({ URL_HEADER: world.federation().url_header_value });
    let credential_source = match source {
        SubjectSource::TextFile(path)
        | SubjectSource::SamlFile(path)
        | SubjectSource::WorkforceFile(path) => {
            json!({ "file": path })
        }
        SubjectSource::JsonFile(path) => json!({ "file": path, "format": format }),
        SubjectSource::TextUrl => json!({ "url": format!("{http}{TEXT_PATH}"), "headers": headers }),
        SubjectSource::JsonUrl => {
            json!({ "url": format!("{http}{JSON_PATH}"), "headers": headers, "format": format })
        }
        SubjectSource::Executable { command, output_file } => {
            let mut executable = json!({ "command": command, "timeout_millis": 30_000 });
            if let (Some(path), Some(object)) = (output_file, executable.as_object_mut()) {
                object.insert("output_file".to_owned(), json!(path));
            }
            json!({ "executable": executable })
        }
        SubjectSource::Aws => json!({
            "environment_id": "aws1",
            "region_url": format!("{http}{IMDS_ZONE_PATH}"),
            "url": format!("{http}{IMDS_ROLE_PATH}"),
            "imdsv2_session_token_url": format!("{http}{IMDS_TOKEN_PATH}"),
            "regional_cred_verification_url":
                "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15",
        }),
    };
    let made = file(
        world,
        json!({
            "type": "external_account",
            "universe_domain": "googleapis.com",
            "audience": provider.audience(),
            "subject_token_type": kind,
            "token_url": format!("{}{TOKEN_PATH}", world.https_url()),
            "credential_source": credential_source,
        }),
    );
    if provider == Provider::Workforce {
        made.set("workforce_pool_user_project", json!(PROJECT))
    } else {
        made
    }
}

pub(crate) fn external_account_authorized_user(world: &World) -> CredentialFile {
    let session = &world.federation().workforce;
    file(
        world,
        json!({
            "type": "external_account_authorized_user",
            "universe_domain": "googleapis.com",
            "audience": Provider::Workforce.audience(),
            "client_id": session.client_id,
            "client_secret": session.client_secret,
            "refresh_token": *world.workforce_refresh_token(),
            "token_url": format!("{}{OAUTH_TOKEN_PATH}", world.https_url()),
            "token_info_url": format!("{}/v1/introspect", world.https_url()),
            "quota_project_id": PROJECT,
        }),
    )
}

pub(crate) fn impersonated_service_account(world: &World, source: SourceCredentials) -> CredentialFile {
    let source = match source {
        SourceCredentials::AuthorizedUser => world.identity().authorized_user_file(),
        SourceCredentials::ServiceAccount => {
            let identity = world.identity();
            identity.service_account_key(&format!("{}/token", world.https_url()), &identity.key.pkcs8_pem)
        }
        SourceCredentials::ExternalAccountAuthorizedUser => external_account_authorized_user(world).content,
    };
    let content = json!({
        "type": "impersonated_service_account",
        "universe_domain": "googleapis.com",
        "delegates": [],
        "source_credentials": source,
    });
    file(world, content).impersonating()
}

pub(crate) fn gdch_service_account(world: &World) -> CredentialFile {
    let key = &world.federation().gdch_key;
    file(
        world,
        json!({
            "type": "gdch_service_account",
            "format_version": "1",
            "project": PROJECT,
            "private_key_id": key.id,
            "private_key": key.pem(),
            "name": "orthanc",
            "ca_cert_path": "",
            "token_uri": format!("{}/authenticate", world.https_url()),
        }),
    )
}

/// Writes a new subject token, good for `lifetime` seconds, to `path`: at once whole, whoever reads it meanwhile.
pub(crate) fn write_subject(
    world: &World,
    form: SubjectForm,
    path: &Path,
    lifetime: u64,
) -> Result<(), SubjectError> {
    let answer = |token: String| {
        let ends = world.now().saturating_add_unsigned(lifetime);
        json!({ "version": 1, "success": true, "token_type": JWT, "id_token": token, "expiration_time": ends })
    };
    let workload = || subject::jwt(world, Provider::Oidc, lifetime);
    let (content, mode) = match form {
        SubjectForm::Text => (workload()?, 0o600),
        SubjectForm::Workforce => (subject::jwt(world, Provider::Workforce, lifetime)?, 0o600),
        SubjectForm::Saml => (subject::saml(world, lifetime)?, 0o600),
        SubjectForm::Json => (json!({ JSON_FIELD: workload()? }).to_string(), 0o600),
        SubjectForm::ExecutableOutput => (answer(workload()?).to_string(), 0o600),
        // Neither tokens nor the other members have a quotation mark.
        SubjectForm::Executable => (format!("#!/bin/sh\nprintf '%s\\n' '{}'\n", answer(workload()?)), 0o700),
    };
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    write_private_text(&beside, &content, mode)?;
    fs::rename(&beside, path)?;
    Ok(())
}

/// The accounts that impersonate out of the box: everybody the delegate and the target, the delegate the target.
pub(crate) fn default_grants(everybody: &[String]) -> crate::iam::Grants {
    let (delegate, target) = (delegate_account(), target_account());
    let direct =
        everybody.iter().flat_map(|from| [(from.clone(), delegate.clone()), (from.clone(), target.clone())]);
    direct.chain([(delegate.clone(), target.clone())]).collect()
}
