//! Where tokens come from: what was asked for, and one attempt to obtain it.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use crate::{
    AccessToken, Failure, FailureKind, Secret, World,
    asking::Asking,
    authorized_user::AuthorizedUser,
    credential_file::{CredentialFile, ExposedFile},
    default_credentials::{self, Found},
    described::Described,
    endpoint_rule::EndpointRule,
    impersonation::{self, DEFAULT_IAM_URI, Impersonation, impersonate},
    keeper::Renewal,
    metadata_server::{self, Server},
    quoted::{credential_in, quoted, shown_path},
    service_account::ServiceAccountKey,
    universe::DEFAULT_UNIVERSE_DOMAIN,
};

/// Google's token endpoint (AIP-4112).
pub const DEFAULT_TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
/// Reaches every Google Cloud API that IAM allows; what the C++ plugin asked for.
pub const DEFAULT_SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// What a token needs that only serves to become somebody else.
pub(crate) const IAM_SCOPE: &str = "https://www.googleapis.com/auth/iam";

/// The credential that the configuration names.
#[derive(Clone, PartialEq, Eq)]
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
    /// `CredentialsFile`: the JSON of a credential of any type.
    CredentialsFile(PathBuf),
    /// `ApplicationDefaultCredentials`: what Google's own programs find (AIP-4110).
    ApplicationDefault,
    /// `MetadataServer`: the service account of this machine, the default one or the one of that e-mail address.
    MetadataServer(Option<String>),
}

/// The secret itself may stand where a path should.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, shown) = match self {
            Self::ServiceAccountFile(path) => ("ServiceAccountFile", shown_path(path)),
            Self::AuthorizedUserFile(path) => ("AuthorizedUserFile", shown_path(path)),
            Self::AuthorizedUser { client_id, .. } => ("AuthorizedUser", quoted(client_id)),
            Self::CredentialsFile(path) => ("CredentialsFile", shown_path(path)),
            Self::ApplicationDefault => return f.write_str("ApplicationDefault"),
            Self::MetadataServer(account) => return f.debug_tuple("MetadataServer").field(account).finish(),
        };
        f.debug_tuple(name).field(&shown).finish()
    }
}

/// A credential with the way to turn it into tokens. Files are read at every attempt, so that a new one is noticed.
#[derive(Debug, Clone)]
pub struct Source {
    /// Who asks.
    pub credential: Credential,
    /// `TokenUri`: where to, instead of the `token_uri` of the credential's file or Google's.
    pub token_uri: Option<String>,
    /// `Scopes`; where there is none, [`DEFAULT_SCOPE`].
    pub scopes: Option<Vec<String>>,
    /// `ImpersonateServiceAccount`.
    pub impersonation: Option<Impersonation>,
    /// `IamUri`: the root of the IAM Service Account Credentials API, ending with a slash, instead of Google's.
    pub iam_uri: Option<String>,
    /// `QuotaProject`.
    pub quota_project: Option<String>,
    /// The account's universe: `UniverseDomain`, else the environment's, else [`DEFAULT_UNIVERSE_DOMAIN`]. A credential of another
    /// is refused.
    pub universe_domain: String,
}

/// A token, and what was learned with it.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The token.
    pub token: AccessToken,
    /// Whom it stands for, where that is known: a service account's e-mail address, or a federated audience.
    pub principal: Option<String>,
    /// The project to bill, sent to Google as `X-Goog-User-Project` (AIP-4113).
    pub quota_project: Option<String>,
    /// The file that holds the credential, if every user of the machine may read it.
    pub exposed: Option<ExposedFile>,
    /// When the token is renewed.
    pub renewal: Renewal,
}

impl Source {
    /// A source that asks Google for a token of the default scope.
    pub fn of(credential: Credential) -> Self {
        Self {
            credential,
            token_uri: None,
            scopes: None,
            impersonation: None,
            iam_uri: None,
            quota_project: None,
            universe_domain: DEFAULT_UNIVERSE_DOMAIN.to_owned(),
        }
    }

    /// Asks for a token once.
    ///
    /// # Errors
    /// What stood in the way, with its remedy. Never ends anything: the next call starts afresh.
    pub async fn fetch(&self, world: &dyn World) -> Result<Grant, Failure> {
        let wanted = self.scopes.clone().unwrap_or_else(|| vec![DEFAULT_SCOPE.to_owned()]);
        let to_impersonate = [IAM_SCOPE.to_owned()];
        let scopes = if self.impersonation.is_some() { &to_impersonate[..] } else { &wanted };
        let asking = Asking { world, scopes, token_uri: self.token_uri.as_deref() };
        let mut grant = self.fetch_base(&asking).await?;
        if let Some(impersonation) = &self.impersonation {
            let asking = Asking { scopes: &wanted, ..asking };
            grant = self.impersonated(&asking, grant, impersonation).await?;
        }
        let of_environment = || world.env("GOOGLE_CLOUD_QUOTA_PROJECT").filter(|project| !project.is_empty());
        grant.quota_project = self.quota_project.clone().or(grant.quota_project).or_else(of_environment);
        Ok(grant)
    }

    /// The files that hold the credential: new content in one of them is a reason to ask at once.
    pub fn files(&self, world: &dyn World) -> Vec<PathBuf> {
        match &self.credential {
            Credential::ServiceAccountFile(path)
            | Credential::AuthorizedUserFile(path)
            | Credential::CredentialsFile(path) => vec![path.clone()],
            Credential::ApplicationDefault => default_credentials::candidates(world),
            Credential::AuthorizedUser { .. } | Credential::MetadataServer(_) => Vec::new(),
        }
    }

    async fn fetch_base(&self, asking: &Asking<'_>) -> Result<Grant, Failure> {
        const DEFAULT: &str = "ApplicationDefaultCredentials";
        match &self.credential {
            Credential::ServiceAccountFile(path) => {
                let file =
                    CredentialFile::read(asking.world, "ServiceAccountFile", path, &self.rule()).await?;
                file.expect_type("service_account")?;
                let key = Described::ServiceAccount(Box::new(ServiceAccountKey::read(&file)?));
                self.fetch_described(asking, &file, &key).await
            }
            Credential::AuthorizedUserFile(path) => {
                let file =
                    CredentialFile::read(asking.world, "AuthorizedUserFile", path, &self.rule()).await?;
                file.expect_type("authorized_user")?;
                let user = Described::AuthorizedUser(AuthorizedUser::read(&file)?);
                self.fetch_described(asking, &file, &user).await
            }
            Credential::CredentialsFile(path) => self.fetch_file(asking, "CredentialsFile", path).await,
            Credential::AuthorizedUser { client_id, client_secret, refresh_token } => {
                let user = AuthorizedUser {
                    client_id: client_id.clone(),
                    client_secret: client_secret.clone(),
                    refresh_token: refresh_token.clone(),
                    token_uri: None,
                    quota_project: None,
                };
                let token = Described::AuthorizedUser(user).fetch(asking, false).await?;
                Ok(grant(token))
            }
            Credential::ApplicationDefault => match default_credentials::find(asking.world) {
                Found::Named(path) => match path.to_str().and_then(credential_in) {
                    Some(what) => Err(credential_in_environment(DEFAULT, what)),
                    None => self.fetch_file(asking, DEFAULT, &path).await,
                },
                Found::WellKnown(path) => self.fetch_file(asking, DEFAULT, &path).await,
                Found::Nothing(well_known) => {
                    let outcome = self.fetch_from_metadata_server(asking, Server::Detected).await;
                    outcome.map_err(|failure| nothing_found(&failure, DEFAULT, well_known.as_deref()))
                }
            },
            Credential::MetadataServer(account) => {
                self.fetch_from_metadata_server(asking, Server::Configured(account.as_deref())).await
            }
        }
    }

    async fn fetch_file(
        &self,
        asking: &Asking<'_>,
        option: &'static str,
        path: &Path,
    ) -> Result<Grant, Failure> {
        let file = CredentialFile::read(asking.world, option, path, &self.rule()).await?;
        let described = Described::read(&file)?;
        self.fetch_described(asking, &file, &described).await
    }

    async fn fetch_described(
        &self,
        asking: &Asking<'_>,
        file: &CredentialFile,
        described: &Described,
    ) -> Result<Grant, Failure> {
        // Google's libraries ask no token endpoint outside googleapis.com: service accounts sign for themselves there.
        let self_signed = self.universe_domain != DEFAULT_UNIVERSE_DOMAIN && self.token_uri.is_none();
        let token = described.fetch(asking, self_signed).await?;
        Ok(Grant {
            principal: described.principal().map(str::to_owned),
            quota_project: described.quota_project().map(str::to_owned),
            exposed: file.exposed(),
            ..grant(token)
        })
    }

    async fn fetch_from_metadata_server(
        &self,
        asking: &Asking<'_>,
        server: Server<'_>,
    ) -> Result<Grant, Failure> {
        let scopes = if self.impersonation.is_some() { None } else { self.scopes.as_deref() };
        let token = metadata_server::token(asking, server, scopes).await?;
        let principal = server.account().map(str::to_owned);
        Ok(Grant { principal, renewal: Renewal::MetadataServer, ..grant(token) })
    }

    async fn impersonated(
        &self,
        asking: &Asking<'_>,
        base: Grant,
        impersonation: &Impersonation,
    ) -> Result<Grant, Failure> {
        let of_universe = || match self.universe_domain.as_str() {
            DEFAULT_UNIVERSE_DOMAIN => DEFAULT_IAM_URI.to_owned(),
            other => format!("https://iamcredentials.{other}/"),
        };
        let url = impersonation.url(&self.iam_uri.clone().unwrap_or_else(of_universe));
        let (source, principal) = (&base.token.value, base.principal.as_deref());
        let delegates = &impersonation.delegates;
        let quota_project = base.quota_project.as_deref();
        let lifetime = impersonation::LIFETIME;
        let token = impersonate(asking, source, principal, &url, delegates, lifetime, quota_project).await?;
        Ok(Grant {
            token,
            principal: Some(impersonation.target.clone()),
            renewal: Renewal::BeforeExpiry,
            ..base
        })
    }

    /// Where the credential's file may send the credential.
    pub(crate) fn rule(&self) -> EndpointRule {
        EndpointRule::of(self)
    }
}

/// A token of which nothing else is known.
fn grant(token: AccessToken) -> Grant {
    Grant { token, principal: None, quota_project: None, exposed: None, renewal: Renewal::BeforeExpiry }
}

/// The variable has to hold a path.
fn credential_in_environment(option: &'static str, what: &str) -> Failure {
    let cause = format!(
        "the environment variable GOOGLE_APPLICATION_CREDENTIALS holds the credential itself, not a path: it looks like {what}"
    );
    let remedy = "write it to a file that Orthanc alone can read, and set the variable to the path of that file; if others may have seen it, replace the credential";
    Failure::of_option(option, cause, remedy)
}

/// The search of AIP-4110 came to its end.
fn nothing_found(failure: &Failure, option: &'static str, well_known: Option<&Path>) -> Failure {
    if failure.kind == FailureKind::NeedsPerson {
        return Failure { option: Some(option), ..failure.clone() };
    }
    let looked = match well_known {
        Some(path) => format!("{} is not there", shown_path(path)),
        None => "there is no home folder to look for gcloud's file".to_owned(),
    };
    Failure {
        option: Some(option),
        cause: format!("GOOGLE_APPLICATION_CREDENTIALS is not set, {looked}, and {}", failure.cause),
        remedy: "set GOOGLE_APPLICATION_CREDENTIALS for Orthanc, or run `gcloud auth application-default login` as the user that runs Orthanc, or run Orthanc on Google Cloud".to_owned(),
        ..failure.clone()
    }
}
