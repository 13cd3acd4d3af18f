//! What a credential is, in words for those who look after it.

use crate::{
    BoxFuture, Credential, Source, World,
    asking::Asking,
    credential_file::CredentialFile,
    default_credentials::{self, Found},
    described::Described,
    metadata_server::{self, Server},
    source::DEFAULT_SCOPE,
};

/// A credential in words. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Which kind: `service account key`, `workload identity federation (AWS)`, … `credential` where a file that cannot be
    /// read would say.
    pub kind: String,
    /// Whom its tokens stand for, where it says so: a service account's e-mail address, a user's, or a federated audience.
    pub principal: Option<String>,
}

impl Description {
    fn new(kind: impl Into<String>, principal: Option<&str>) -> Self {
        Self { kind: kind.into(), principal: principal.map(str::to_owned) }
    }
}

/// What the metadata server's tokens are called.
const METADATA_SERVER: &str = "metadata server";

impl Source {
    /// What the credential is now, as far as can be said without asking anybody. Its file is read once.
    pub fn described(&self, world: &dyn World) -> Description {
        let rule = self.rule();
        let base = match &self.credential {
            Credential::ServiceAccountFile(path) => {
                let file = CredentialFile::glance(world, path, &rule);
                Description::new(
                    "service account key",
                    file.and_then(|file| file.extra("client_email")).as_deref(),
                )
            }
            Credential::AuthorizedUserFile(path) => {
                let file = CredentialFile::glance(world, path, &rule);
                Description::new("user", file.and_then(|file| file.extra("account")).as_deref())
            }
            Credential::AuthorizedUser { .. } => Description::new("user", None),
            Credential::CredentialsFile(path) => of_file(CredentialFile::glance(world, path, &rule).as_ref()),
            Credential::MetadataServer(account) => Description::new(METADATA_SERVER, account.as_deref()),
            Credential::ApplicationDefault => {
                let found = match default_credentials::find(world) {
                    Found::Named(path) | Found::WellKnown(path) => {
                        of_file(CredentialFile::glance(world, &path, &rule).as_ref())
                    }
                    Found::Nothing(_) => Description::new(METADATA_SERVER, None),
                };
                Description { kind: format!("application default credentials: {}", found.kind), ..found }
            }
        };
        match &self.impersonation {
            None => base,
            Some(impersonation) => {
                let kind = format!("{}, acting as another service account", base.kind);
                Description::new(kind, Some(&impersonation.target))
            }
        }
    }

    /// The same, and where the metadata server gives the tokens of a service account that nobody has named, its e-mail
    /// address as the server tells it.
    pub fn described_fully<'a>(&'a self, world: &'a dyn World) -> BoxFuture<'a, Description> {
        Box::pin(async move {
            let mut description = self.described(world);
            if description.principal.is_none() && description.kind.ends_with(METADATA_SERVER) {
                let scopes = [DEFAULT_SCOPE.to_owned()];
                let asking = Asking { world, scopes: &scopes, token_uri: None };
                let server = match &self.credential {
                    Credential::ApplicationDefault => Server::Detected,
                    _ => Server::Configured(None),
                };
                description.principal = metadata_server::email(&asking, server).await;
            }
            description
        })
    }
}

fn of_file(file: Option<&CredentialFile>) -> Description {
    let Some((file, Ok(described))) = file.map(|file| (file, Described::read(file))) else {
        return Description::new("credential", None);
    };
    let of_user = || file.extra("account");
    let principal = described.principal().map(str::to_owned).or_else(of_user);
    Description { kind: described.kind(), principal }
}
