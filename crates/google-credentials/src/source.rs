//! Where tokens come from: what was asked for, and one request to obtain it.

use std::path::PathBuf;

use crate::{
    AccessToken, Failure, Request, Secret, World,
    authorized_user::AuthorizedUser,
    credential_file::{CredentialFile, ExposedFile},
    remedy,
    service_account::ServiceAccountKey,
    token,
};

/// Google's token endpoint (AIP-4112).
pub const DEFAULT_TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
/// Reaches every Google Cloud API that IAM allows; what the C++ plugin asked for.
pub const DEFAULT_SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// The credential that the configuration names.
#[derive(Debug, Clone)]
pub enum Credential {
    /// `ServiceAccountFile`: a JSON key (AIP-4112).
    ServiceAccountFile(PathBuf),
    /// `AuthorizedUserFile`: a login's JSON (AIP-4113).
    AuthorizedUserFile(PathBuf),
    /// `AuthorizedUserClientId`, `AuthorizedUserClientSecret`, `AuthorizedUserRefreshToken`.
    AuthorizedUser {
        /// Names the program that the user logged in with.
        client_id: String,
        /// Belongs to `client_id`.
        client_secret: Secret,
        /// Stands for the login.
        refresh_token: Secret,
    },
}

/// A credential with the way to turn it into tokens. Files are read at every request, so that a new one is noticed.
#[derive(Debug, Clone)]
pub struct Source {
    /// Who asks.
    pub credential: Credential,
    /// Where to, instead of the `token_uri` of the credential's file or Google's.
    pub token_uri: Option<String>,
}

/// A token, and what was learned with it.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The token.
    pub token: AccessToken,
    /// The project to bill (`quota_project_id`), sent to Google as `X-Goog-User-Project` (AIP-4113).
    pub quota_project: Option<String>,
    /// The file that holds the credential, if every user of the machine may read it.
    pub exposed: Option<ExposedFile>,
}

impl Source {
    /// Asks for a token once.
    ///
    /// # Errors
    /// What stood in the way, with its remedy. Never ends anything: the next call starts afresh.
    pub async fn fetch(&self, world: &dyn World) -> Result<Grant, Failure> {
        let prepared = self.prepare(world)?;
        let sent_at = world.now();
        let url = &prepared.request.url;
        let response =
            world.send(&prepared.request).await.map_err(|error| remedy::of_transport(url, &error))?;
        Ok(Grant {
            token: token::read_answer(url, &response, sent_at)?,
            quota_project: prepared.quota_project,
            exposed: prepared.exposed,
        })
    }

    fn prepare(&self, world: &dyn World) -> Result<Prepared, Failure> {
        match &self.credential {
            Credential::ServiceAccountFile(path) => {
                let file = CredentialFile::read(world, "ServiceAccountFile", path, "service_account")?;
                let key = ServiceAccountKey::read(&file)?;
                let form = key.form(DEFAULT_SCOPE, world.now())?;
                Ok(Prepared {
                    request: Request { url: self.url(key.token_uri), form },
                    quota_project: None,
                    exposed: file.exposed(),
                })
            }
            Credential::AuthorizedUserFile(path) => {
                let file = CredentialFile::read(world, "AuthorizedUserFile", path, "authorized_user")?;
                let user = AuthorizedUser::read(&file)?;
                Ok(self.prepare_user(user, file.exposed()))
            }
            Credential::AuthorizedUser { client_id, client_secret, refresh_token } => {
                let user = AuthorizedUser {
                    client_id: client_id.clone(),
                    client_secret: client_secret.clone(),
                    refresh_token: refresh_token.clone(),
                    token_uri: None,
                    quota_project: None,
                };
                Ok(self.prepare_user(user, None))
            }
        }
    }

    fn prepare_user(&self, user: AuthorizedUser, exposed: Option<ExposedFile>) -> Prepared {
        let form = user.form();
        Prepared {
            request: Request { url: self.url(user.token_uri), form },
            quota_project: user.quota_project,
            exposed,
        }
    }

    fn url(&self, of_file: Option<String>) -> String {
        self.token_uri.clone().or(of_file).unwrap_or_else(|| DEFAULT_TOKEN_URI.to_owned())
    }
}

struct Prepared {
    request: Request,
    quota_project: Option<String>,
    exposed: Option<ExposedFile>,
}
