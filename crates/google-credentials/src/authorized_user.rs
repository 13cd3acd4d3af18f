//! A user's login: the refresh-token grant (RFC 6749 section 6, AIP-4113).

use crate::{Failure, Field, Secret, credential_file::CredentialFile};

/// What `gcloud auth application-default login` leaves behind.
#[derive(Debug, Clone)]
pub(crate) struct AuthorizedUser {
    pub(crate) client_id: String,
    pub(crate) client_secret: Secret,
    pub(crate) refresh_token: Secret,
    pub(crate) token_uri: Option<String>,
    pub(crate) quota_project: Option<String>,
}

impl AuthorizedUser {
    pub(crate) fn read(file: &CredentialFile) -> Result<Self, Failure> {
        Ok(Self {
            client_id: file.mandatory("client_id")?.to_owned(),
            client_secret: file.secret("client_secret")?,
            refresh_token: file.secret("refresh_token")?,
            token_uri: file.token_endpoint("token_uri")?,
            quota_project: file.quota_project()?,
        })
    }

    /// The fields of the token request. The scope is that of the login.
    pub(crate) fn form(&self) -> Vec<(&'static str, Field)> {
        vec![
            ("grant_type", Field::Plain("refresh_token".to_owned())),
            ("client_id", Field::Plain(self.client_id.clone())),
            ("client_secret", Field::Secret(self.client_secret.clone())),
            ("refresh_token", Field::Secret(self.refresh_token.clone())),
        ]
    }
}
