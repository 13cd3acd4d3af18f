//! Subject tokens from a file or an address (AIP-4117, "File-sourced" and "URL-sourced credentials").

use std::path::Path;

use serde_json::Value;

use crate::{
    Failure, FailureKind, Request, Secret, World,
    asking::Asking,
    credential_file::CredentialFile,
    http::{Method, shown_url},
    quoted::{quoted, shown_path},
};

/// How a subject token is written down.
#[derive(Debug, Clone)]
pub(crate) enum Format {
    /// As it is.
    Text,
    /// As a member of a JSON object.
    Json {
        /// The member.
        member: String,
    },
}

impl Format {
    /// `format` of a `credential_source`.
    pub(crate) fn read(source: &CredentialFile) -> Result<Self, Failure> {
        let Some(format) = source.optional_object("format")? else { return Ok(Self::Text) };
        match format.optional("type")? {
            None | Some("text") => Ok(Self::Text),
            Some("json") => {
                Ok(Self::Json { member: format.mandatory("subject_token_field_name")?.to_owned() })
            }
            Some(other) => Err(format
                .wrong(&format!("is of the type {}, and only `text` and `json` are known", quoted(other)))),
        }
    }

    fn token(&self, content: &[u8]) -> Result<Secret, String> {
        let text = std::str::from_utf8(content).map_err(|_| "holds no text".to_owned())?;
        let token = match self {
            Self::Text => text.trim().to_owned(),
            Self::Json { member } => {
                let value: Value = serde_json::from_str(text).map_err(|_| "holds no JSON".to_owned())?;
                let token = value.get(member).and_then(Value::as_str);
                token.ok_or_else(|| format!("lacks `{member}`"))?.to_owned()
            }
        };
        if token.is_empty() { Err("is empty".to_owned()) } else { Ok(Secret::new(token)) }
    }
}

/// Reads the file now: whoever writes it (Kubernetes, Azure) replaces it before the token in it expires.
pub(crate) async fn of_file(
    world: &dyn World,
    option: &'static str,
    path: &str,
    format: &Format,
) -> Result<Secret, Failure> {
    let remedy = "check that the program that provides the token (Kubernetes, a login agent) runs and writes that file";
    let failure = |what: String| Failure {
        option: Some(option),
        ..Failure::new(
            FailureKind::Transient,
            format!("the subject token's file {} {what}", shown_path(Path::new(path))),
            remedy,
        )
    };
    let content =
        world.read_file(Path::new(path)).map_err(|error| failure(format!("cannot be read: {error}")))?;
    format.token(&content.bytes).map_err(failure)
}

/// Asks the address that the credential's file names.
pub(crate) async fn of_url(
    asking: &Asking<'_>,
    option: &'static str,
    url: &str,
    headers: &[(String, Secret)],
    format: &Format,
) -> Result<Secret, Failure> {
    let remedy = "check that the service that provides the subject token runs, and the `credential_source` of the credential's file";
    let mut request = Request::new(Method::Get, url);
    for (name, value) in headers {
        // Such headers often are a secret.
        request = request.secret_header(name, value.expose());
    }
    let text =
        asking.text(&request, remedy).await.map_err(|failure| Failure { option: Some(option), ..failure })?;
    format.token(text.as_bytes()).map_err(|what| Failure {
        option: Some(option),
        ..Failure::new(FailureKind::Transient, format!("the answer of {} {what}", shown_url(url)), remedy)
    })
}
