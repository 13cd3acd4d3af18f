//! A credential as a JSON file describes it: whichever type that is (AIP-4110).

use crate::{
    AccessToken, BoxFuture, Failure, Request, Secret,
    asking::Asking,
    authorized_user::AuthorizedUser,
    credential_file::CredentialFile,
    external_account::{ExternalAccount, ExternalUser},
    impersonation::{self, URL_MEMBER, impersonate, target_of},
    service_account::ServiceAccountKey,
    source::IAM_SCOPE,
};

/// What the file says.
pub(crate) enum Described {
    ServiceAccount(Box<ServiceAccountKey>),
    AuthorizedUser(AuthorizedUser),
    ExternalAccount(Box<ExternalAccount>),
    ExternalUser(ExternalUser),
    Impersonated(Box<Impersonated>),
}

/// An `impersonated_service_account` file.
pub(crate) struct Impersonated {
    source: Described,
    url: String,
    delegates: Vec<String>,
    quota_project: Option<String>,
}

impl Described {
    /// Reads a credential of whichever type `file` says it has.
    pub(crate) fn read(file: &CredentialFile) -> Result<Self, Failure> {
        match file.kind()? {
            Some("service_account") => ServiceAccountKey::read(file).map(Box::new).map(Self::ServiceAccount),
            Some("authorized_user") => AuthorizedUser::read(file).map(Self::AuthorizedUser),
            Some("external_account") => ExternalAccount::read(file).map(Box::new).map(Self::ExternalAccount),
            Some("external_account_authorized_user") => ExternalUser::read(file).map(Self::ExternalUser),
            Some("impersonated_service_account") => Ok(Self::Impersonated(Box::new(Impersonated {
                source: Self::read(&file.object("source_credentials")?)?,
                url: impersonation::url_in(file)?
                    .ok_or_else(|| file.wrong(&format!("lacks `{URL_MEMBER}`")))?,
                delegates: impersonation::delegates_in(file)?,
                quota_project: file.quota_project()?,
            }))),
            Some(other) => Err(file.of_unknown_type(other)),
            None => {
                file.check_untyped()?;
                Err(file.wrong("lacks `type`"))
            }
        }
    }

    /// What it is, in words.
    pub(crate) fn kind(&self) -> String {
        match self {
            Self::ServiceAccount(_) => "service account key".to_owned(),
            Self::AuthorizedUser(_) => "user".to_owned(),
            Self::ExternalAccount(account) => account.kind(),
            Self::ExternalUser(_) => "workforce identity federation (user)".to_owned(),
            Self::Impersonated(impersonated) => {
                format!("{}, acting as another service account", impersonated.source.kind())
            }
        }
    }

    /// Whom the token stands for, where the file says so.
    pub(crate) fn principal(&self) -> Option<&str> {
        match self {
            Self::ServiceAccount(key) => Some(&key.client_email),
            Self::ExternalAccount(account) => Some(account.principal()),
            Self::Impersonated(impersonated) => Some(target_of(&impersonated.url)),
            Self::AuthorizedUser(_) | Self::ExternalUser(_) => None,
        }
    }

    /// `quota_project_id`.
    pub(crate) fn quota_project(&self) -> Option<&str> {
        match self {
            Self::ServiceAccount(_) => None,
            Self::AuthorizedUser(user) => user.quota_project.as_deref(),
            Self::ExternalAccount(account) => account.quota_project.as_deref(),
            Self::ExternalUser(user) => user.quota_project.as_deref(),
            Self::Impersonated(impersonated) => impersonated.quota_project.as_deref(),
        }
    }

    /// Obtains a token. `self_signed` has a service account sign its token itself.
    pub(crate) fn fetch<'a>(
        &'a self,
        asking: &'a Asking<'_>,
        self_signed: bool,
    ) -> BoxFuture<'a, Result<AccessToken, Failure>> {
        Box::pin(async move {
            match self {
                Self::ServiceAccount(key) if self_signed => {
                    key.self_signed(&asking.scope(), asking.world.now())
                }
                Self::ServiceAccount(key) => {
                    let form = key.form(&asking.scope(), asking.world.now())?;
                    asking.token(&Request::form(asking.token_uri(key.token_uri.as_deref()), form)).await
                }
                Self::AuthorizedUser(user) => {
                    let request = Request::form(asking.token_uri(user.token_uri.as_deref()), user.form());
                    asking.token(&request).await
                }
                Self::ExternalAccount(account) => account.fetch(asking).await,
                Self::ExternalUser(user) => user.fetch(asking).await,
                Self::Impersonated(impersonated) => {
                    let source = impersonated.source(asking, self_signed).await?;
                    let Impersonated { url, delegates, source: described, .. } = &**impersonated;
                    let principal = described.principal();
                    let quota = described.quota_project();
                    impersonate(asking, &source, principal, url, delegates, impersonation::LIFETIME, quota)
                        .await
                }
            }
        })
    }
}

impl Impersonated {
    /// The token of who acts as somebody else.
    async fn source(&self, asking: &Asking<'_>, self_signed: bool) -> Result<Secret, Failure> {
        let scopes = [IAM_SCOPE.to_owned()];
        let asking = Asking { scopes: &scopes, ..*asking };
        Ok(self.source.fetch(&asking, self_signed).await?.value)
    }
}
