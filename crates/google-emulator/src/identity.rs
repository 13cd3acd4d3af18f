//! Who exists in the pretend Google: one service account, one user, and the certificate authority.

use crate::rsa_key::{KeyError, RsaKey, hex, random_bytes};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::net::IpAddr;

/// The project that the service account belongs to.
pub(crate) const PROJECT: &str = "demo";

/// What survives a restart on the same data folder. It has no `Debug`: it is full of secrets.
#[derive(Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) client_email: String,
    /// The service account's keys that are not revoked; the last one is the newest.
    pub(crate) key: RsaKey,
    pub(crate) user: AuthorizedUser,
    /// PEM lines of keys rotated away, which must still never be seen in a log.
    pub(crate) former_secrets: Vec<String>,
    pub(crate) refresh_token_revoked: bool,
    pub(crate) ca_certificate_pem: String,
    ca_key_pem: String,
}

/// What an authorized-user credential consists of (AIP-4113). It has no `Debug`: two of the three are secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizedUser {
    /// The OAuth client, public.
    pub client_id: String,
    /// The OAuth client's secret.
    pub client_secret: String,
    /// The user's refresh token.
    pub refresh_token: String,
}

/// Why no identity could be made.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// No RSA key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No certificate.
    #[error("cannot make the emulator's certificates: {0}")]
    Certificate(#[from] rcgen::Error),
}

impl Identity {
    pub(crate) fn generate() -> Result<Self, IdentityError> {
        let ca_key = KeyPair::generate()?;
        let base64 = |bytes| random_bytes(bytes).map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
        Ok(Self {
            client_email: format!("orthanc@{PROJECT}.iam.gserviceaccount.com"),
            key: RsaKey::generate()?,
            user: AuthorizedUser {
                client_id: format!("764086051850-{}.apps.googleusercontent.com", hex(&random_bytes(16)?)),
                client_secret: format!("GOCSPX-{}", base64(21)?),
                refresh_token: format!("1//0{}", base64(72)?),
            },
            former_secrets: Vec::new(),
            refresh_token_revoked: false,
            ca_certificate_pem: ca_params()?.self_signed(&ca_key)?.pem(),
            ca_key_pem: ca_key.serialize_pem(),
        })
    }

    /// Replaces the service account's key; assertions signed with the old one are refused from now on.
    pub(crate) fn rotate_key(&mut self) -> Result<(), KeyError> {
        let new = RsaKey::generate()?;
        self.former_secrets.extend(self.key.secret_lines());
        self.key = new;
        Ok(())
    }

    /// A service-account key file (AIP-4112), its private key in PKCS#8 as Google writes it, or in PKCS#1.
    pub(crate) fn service_account_key(&self, token_uri: &str, private_key_pem: &str) -> Value {
        json!({
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": self.key.id,
            "private_key": private_key_pem,
            "client_email": self.client_email,
            "client_id": "113243434343434343434",
            "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": token_uri,
            "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
            "client_x509_cert_url": format!(
                "https://www.googleapis.com/robot/v1/metadata/x509/{}", self.client_email.replace('@', "%40")),
            "universe_domain": "googleapis.com",
        })
    }

    /// What `gcloud auth application-default login` writes (AIP-4113).
    pub(crate) fn authorized_user_file(&self) -> Value {
        json!({
            "account": "",
            "client_id": self.user.client_id,
            "client_secret": self.user.client_secret,
            "quota_project_id": PROJECT,
            "refresh_token": self.user.refresh_token,
            "type": "authorized_user",
            "universe_domain": "googleapis.com",
        })
    }

    /// Everything of this identity that must never reach a log.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let user = [self.user.client_secret.clone(), self.user.refresh_token.clone()];
        self.key.secret_lines().chain(user).chain(self.former_secrets.iter().cloned()).collect()
    }

    /// A fresh server certificate for `localhost`, both loopback addresses and `address`, with its key and the CA.
    pub(crate) fn server_certificate(
        &self,
        address: IpAddr,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), IdentityError> {
        let issuer = Issuer::new(ca_params()?, KeyPair::from_pem(&self.ca_key_pem)?);
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        if !address.is_unspecified() && !names.contains(&address.to_string()) {
            names.push(address.to_string());
        }
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, "google-emulator");
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?;
        Ok((vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into()))
    }
}

/// The authority's fixed description: the same whenever the same data folder is opened again.
fn ca_params() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "google-emulator test authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}
