//! What lies outside Google: an external identity provider, an AWS account, a workforce session, and the names that Google
//! knows them by.

use crate::{
    access::PROJECT_NUMBER,
    identity::PROJECT,
    rsa_key::{KeyError, hex, pem, random_bytes},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
    },
};
use serde::{Deserialize, Serialize};

/// The AWS region that the pretend instance is in.
pub(crate) const AWS_REGION: &str = "eu-central-1";
/// The role of the pretend instance.
pub(crate) const AWS_ROLE: &str = "imaging";
/// The header field that the URL of the subject token asks for.
pub(crate) const URL_HEADER: &str = "X-Identity-Header";
/// The issuer of the external identity provider's tokens.
pub(crate) const ISSUER: &str = "https://idp.example.com";
/// The subject of the external identity provider's tokens.
pub(crate) const SUBJECT: &str = "system:serviceaccount:imaging:orthanc";
/// The workforce provider's `OpenID` client, the audience of its tokens.
pub(crate) const WORKFORCE_AUDIENCE: &str = "hospital-staff-client";

/// Secrets of the world outside. They survive a restart on the same data folder. No `Debug`: it is full of secrets.
#[derive(Serialize, Deserialize)]
pub(crate) struct Federation {
    pub(crate) provider_key: EcKey,
    pub(crate) gdch_key: EcKey,
    /// A user's, without a session token.
    pub(crate) aws_user: AwsCredentials,
    /// The role's, with a session token.
    pub(crate) aws_role: AwsCredentials,
    pub(crate) workforce: WorkforceSession,
    /// What [`URL_HEADER`] must say.
    pub(crate) url_header_value: String,
}

/// AWS security credentials. They have no `Debug`: two of the three are secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwsCredentials {
    /// `AWS_ACCESS_KEY_ID`, public.
    pub access_key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: String,
    /// `AWS_SESSION_TOKEN`; a user's permanent credentials have none.
    pub session_token: Option<String>,
}

/// What a workforce user's login with gcloud leaves behind. It has no `Debug`: two of the three are secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkforceSession {
    /// The OAuth client, public.
    pub client_id: String,
    /// The OAuth client's secret.
    pub client_secret: String,
    /// The refresh token in force; see [`Settings::rotate_refresh_tokens`](crate::Settings::rotate_refresh_tokens).
    pub refresh_token: String,
}

/// What a provider of an identity pool takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Provider {
    Oidc,
    Saml,
    Aws,
    /// `OpenID` Connect for people.
    Workforce,
}

impl Provider {
    /// The provider's full resource name: the `audience` of the exchange.
    pub(crate) fn audience(self) -> String {
        let id = match self {
            Self::Oidc => "oidc",
            Self::Saml => "saml",
            Self::Aws => "aws",
            Self::Workforce => {
                return "//iam.googleapis.com/locations/global/workforcePools/hospital-staff/providers/oidc"
                    .to_owned();
            }
        };
        format!(
            "//iam.googleapis.com/projects/{PROJECT_NUMBER}/locations/global/workloadIdentityPools/hospital/providers/{id}"
        )
    }

    /// The provider that `audience` names.
    pub(crate) fn named(audience: &str) -> Option<Self> {
        let all = [Self::Oidc, Self::Saml, Self::Aws, Self::Workforce];
        all.into_iter().find(|provider| provider.audience() == audience)
    }

    /// The name that Google knows the provider's one subject by.
    pub(crate) fn principal(self) -> String {
        let subject = match self {
            Self::Workforce => return workforce_principal(),
            Self::Aws => {
                format!("arn:aws:sts::{PROJECT_NUMBER}:assumed-role/{AWS_ROLE}/i-0123456789abcdef0")
            }
            Self::Oidc | Self::Saml => SUBJECT.to_owned(),
        };
        format!(
            "principal://iam.googleapis.com/projects/{PROJECT_NUMBER}/locations/global/workloadIdentityPools/hospital/subject/\
             {subject}"
        )
    }
}

/// The person with the workforce session.
pub(crate) fn workforce_principal() -> String {
    "principal://iam.googleapis.com/locations/global/workforcePools/hospital-staff/subject/radiologist"
        .to_owned()
}

/// The service account of the pretend virtual machine.
pub(crate) fn machine_account() -> String {
    format!("machine@{PROJECT}.iam.gserviceaccount.com")
}

/// The service account that the ready-made credential files impersonate.
pub(crate) fn target_account() -> String {
    format!("target@{PROJECT}.iam.gserviceaccount.com")
}

/// The service account in between, where there are delegates.
pub(crate) fn delegate_account() -> String {
    format!("delegate@{PROJECT}.iam.gserviceaccount.com")
}

impl Federation {
    pub(crate) fn generate() -> Result<Self, KeyError> {
        let base64 = |bytes| random_bytes(bytes).map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
        let key_id =
            |prefix: &str| random_bytes(8).map(|bytes| format!("{prefix}{}", hex(&bytes).to_uppercase()));
        // AWS secrets and session tokens have `/`, `+` and `=`, which is what trips up wrong encodings.
        let secret = |bytes| random_bytes(bytes).map(|bytes| format!("/+{}", STANDARD.encode(bytes)));
        Ok(Self {
            provider_key: EcKey::generate()?,
            gdch_key: EcKey::generate()?,
            aws_user: AwsCredentials {
                access_key_id: key_id("AKIA")?,
                secret_access_key: secret(29)?,
                session_token: None,
            },
            aws_role: AwsCredentials {
                access_key_id: key_id("ASIA")?,
                secret_access_key: secret(29)?,
                session_token: Some(secret(400)?),
            },
            workforce: WorkforceSession {
                client_id: format!("{}.apps.example.com", hex(&random_bytes(8)?)),
                client_secret: base64(30)?,
                refresh_token: format!("1//wf{}", base64(72)?),
            },
            url_header_value: base64(24)?,
        })
    }

    /// Everything of this that must never reach a log.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let aws = [&self.aws_user, &self.aws_role].into_iter().flat_map(|credentials| {
            credentials.session_token.iter().chain([&credentials.secret_access_key]).cloned()
        });
        let workforce = &self.workforce;
        let others = [&workforce.client_secret, &workforce.refresh_token, &self.url_header_value];
        let keys = [&self.provider_key, &self.gdch_key].into_iter().flat_map(EcKey::secret_lines);
        aws.chain(others.into_iter().cloned()).chain(keys).collect()
    }
}

/// A key pair that signs ES256 (RFC 7518 section 3.4).
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct EcKey {
    pub(crate) id: String,
    /// PKCS#8 (RFC 5958) in base64.
    pkcs8: String,
}

impl EcKey {
    fn generate() -> Result<Self, KeyError> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| KeyError::NoRandomness)?;
        Ok(Self { id: hex(&random_bytes(8)?), pkcs8: STANDARD.encode(document.as_ref()) })
    }

    pub(crate) fn pem(&self) -> String {
        pem("PRIVATE KEY", &STANDARD.decode(&self.pkcs8).unwrap_or_default())
    }

    fn pair(&self) -> Result<EcdsaKeyPair, KeyError> {
        let der = STANDARD.decode(&self.pkcs8).map_err(|_| KeyError::Rejected)?;
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, &SystemRandom::new())
            .map_err(|_| KeyError::Rejected)
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signature =
            self.pair()?.sign(&SystemRandom::new(), message).map_err(|_| KeyError::NoRandomness)?;
        Ok(signature.as_ref().to_vec())
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.pair().is_ok_and(|pair| {
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key())
                .verify(message, signature)
                .is_ok()
        })
    }

    fn secret_lines(&self) -> Vec<String> {
        let pem = self.pem();
        pem.lines().filter(|line| !line.starts_with("-----")).map(str::to_owned).collect()
    }
}
