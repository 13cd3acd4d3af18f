//! The emulator's side of federation, impersonation and the metadata server, for tests.

use crate::{
    credential_file::{self, CredentialFile, SourceCredentials, SubjectError, SubjectForm, SubjectSource},
    emulator::Emulator,
    federation::{
        AWS_REGION, AwsCredentials, Provider, WorkforceSession, delegate_account, machine_account,
        target_account, workforce_principal,
    },
    oauth::USER,
    rsa_key::KeyError,
    subject,
};
use std::{path::Path, time::Duration};

impl Emulator {
    /// `127.0.0.1:PORT` of the metadata server, for `GCE_METADATA_HOST`. Plain HTTP.
    pub fn metadata_host(&self) -> &str {
        &self.world().metadata_host
    }

    /// The e-mail address of the service account that the metadata server speaks for.
    pub fn metadata_service_account(&self) -> String {
        machine_account()
    }

    /// The e-mail address of the service account with the key.
    pub fn service_account(&self) -> String {
        self.world().identity().client_email.clone()
    }

    /// The e-mail address of the user behind the authorized-user credential.
    pub fn user(&self) -> &'static str {
        USER
    }

    /// The e-mail address of the account that the ready-made files impersonate.
    pub fn impersonation_target(&self) -> String {
        target_account()
    }

    /// The e-mail address of an account that everybody may impersonate, and that may impersonate the target.
    pub fn impersonation_delegate(&self) -> String {
        delegate_account()
    }

    /// The name that Google knows the holder of a federated token by: `principal://iam.googleapis.com/…/subject/…`.
    pub fn federated_principal(&self, source: &SubjectSource) -> String {
        match source {
            SubjectSource::WorkforceFile(_) => workforce_principal(),
            SubjectSource::Aws => Provider::Aws.principal(),
            _ => Provider::Oidc.principal(),
        }
    }

    /// Lets `from` (an e-mail address or a `principal://` name) have tokens of the service account `to`.
    pub fn allow_impersonation(&self, from: &str, to: &str) {
        self.world().change_grants(|grants| {
            grants.insert((from.to_owned(), to.to_owned()));
        });
    }

    /// Takes back what [`Emulator::allow_impersonation`], or the default, gave.
    pub fn deny_impersonation(&self, from: &str, to: &str) {
        self.world().change_grants(|grants| {
            grants.remove(&(from.to_owned(), to.to_owned()));
        });
    }

    /// A JWT of the external identity provider for the workload pool, good for `lifetime` (whole seconds; zero is expired).
    ///
    /// # Errors
    ///
    /// The operating system has no randomness to give.
    pub fn subject_token(&self, lifetime: Duration) -> Result<String, KeyError> {
        subject::jwt(self.world(), Provider::Oidc, lifetime.as_secs())
    }

    /// The same for the workforce pool.
    ///
    /// # Errors
    ///
    /// The operating system has no randomness to give.
    pub fn workforce_subject_token(&self, lifetime: Duration) -> Result<String, KeyError> {
        subject::jwt(self.world(), Provider::Workforce, lifetime.as_secs())
    }

    /// A SAML 2.0 response in base64.
    ///
    /// # Errors
    ///
    /// The operating system has no randomness to give.
    pub fn saml_assertion(&self, lifetime: Duration) -> Result<String, KeyError> {
        subject::saml(self.world(), lifetime.as_secs())
    }

    /// Writes a new subject token, good for `lifetime`, where a credential of the fitting [`SubjectSource`] looks for it. It
    /// replaces the file in one step. Mode 0600, a program's 0700.
    ///
    /// # Errors
    ///
    /// Those of writing files.
    pub fn write_subject_token(
        &self,
        form: SubjectForm,
        path: &Path,
        lifetime: Duration,
    ) -> Result<(), SubjectError> {
        credential_file::write_subject(self.world(), form, path, lifetime.as_secs())
    }

    /// An `external_account` file's content, without impersonation.
    pub fn external_account(&self, source: &SubjectSource) -> CredentialFile {
        credential_file::external_account(self.world(), source)
    }

    /// An `external_account_authorized_user` file's content: a workforce user's login.
    pub fn external_account_authorized_user(&self) -> CredentialFile {
        credential_file::external_account_authorized_user(self.world())
    }

    /// An `impersonated_service_account` file's content, without delegates.
    pub fn impersonated_service_account(&self, source: SourceCredentials) -> CredentialFile {
        credential_file::impersonated_service_account(self.world(), source)
    }

    /// A `gdch_service_account` file's content. Nothing here takes it: it is for being refused by name.
    pub fn gdch_service_account(&self) -> CredentialFile {
        credential_file::gdch_service_account(self.world())
    }

    /// The workforce session, its refresh token the one in force.
    pub fn workforce_session(&self) -> WorkforceSession {
        let refresh_token = self.world().workforce_refresh_token().clone();
        WorkforceSession { refresh_token, ..self.world().federation().workforce.clone() }
    }

    /// AWS credentials of the instance's role, with a session token.
    pub fn aws_role_credentials(&self) -> AwsCredentials {
        self.world().federation().aws_role.clone()
    }

    /// AWS credentials of a user, without a session token: for the environment.
    pub fn aws_user_credentials(&self) -> AwsCredentials {
        self.world().federation().aws_user.clone()
    }

    /// The AWS region that the instance metadata service names.
    pub fn aws_region(&self) -> &'static str {
        AWS_REGION
    }
}
