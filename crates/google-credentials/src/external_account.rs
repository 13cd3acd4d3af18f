//! Workload and workforce identity federation: a token of somebody else's, exchanged at Google's STS (AIP-4117,
//! RFC 8693).

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::header::{HeaderName, HeaderValue};
use serde_json::json;
use url::Url;

use crate::{
    AccessToken, Failure, Field, Request, Secret,
    asking::Asking,
    aws::Aws,
    credential_file::CredentialFile,
    executable::{Executable, Wanted},
    impersonation::{self, impersonate, target_of},
    quoted::quoted,
    source::IAM_SCOPE,
    subject_token::{Format, of_file, of_url},
};

/// How long an impersonated token may be asked for, in seconds (AIP-4117).
const LIFETIMES: std::ops::RangeInclusive<u64> = 600..=43_200;

/// An `external_account` file.
pub(crate) struct ExternalAccount {
    option: &'static str,
    pub(crate) audience: String,
    subject_token_type: String,
    token_url: String,
    pub(crate) impersonation_url: Option<String>,
    lifetime: Duration,
    source: SubjectSource,
    workforce_pool_user_project: Option<String>,
    client: Option<Client>,
    pub(crate) quota_project: Option<String>,
}

/// `client_id` and `client_secret`, sent by HTTP Basic (RFC 6749 section 2.3.1).
pub(crate) struct Client {
    id: String,
    secret: Option<Secret>,
}

/// `credential_source`.
enum SubjectSource {
    File { path: String, format: Format },
    Url { url: String, headers: Vec<(String, Secret)>, format: Format },
    Executable(Executable),
    Aws(Aws),
}

impl ExternalAccount {
    pub(crate) fn read(file: &CredentialFile) -> Result<Self, Failure> {
        let lifetime = match file.optional_object("service_account_impersonation")? {
            Some(object) => object.whole_number("token_lifetime_seconds")?,
            None => None,
        };
        if let Some(seconds) = lifetime.filter(|seconds| !LIFETIMES.contains(seconds)) {
            return Err(file.wrong(&format!("wants tokens of {seconds} s, which is not within 600 to 43200")));
        }
        Ok(Self {
            option: file.option(),
            audience: file.mandatory("audience")?.to_owned(),
            subject_token_type: file.mandatory("subject_token_type")?.to_owned(),
            token_url: token_url(file)?,
            impersonation_url: impersonation::url_in(file)?,
            lifetime: lifetime.map_or(impersonation::LIFETIME, Duration::from_secs),
            source: SubjectSource::read(&file.object("credential_source")?)?,
            workforce_pool_user_project: file.optional("workforce_pool_user_project")?.map(str::to_owned),
            client: Client::read(file)?,
            quota_project: file.quota_project()?,
        })
    }

    /// What it is, in words.
    pub(crate) fn kind(&self) -> String {
        let federation = if self.audience.contains("/workforcePools/") {
            "workforce identity federation"
        } else {
            "workload identity federation"
        };
        let source = match &self.source {
            SubjectSource::File { .. } => "file",
            SubjectSource::Url { .. } => "URL",
            SubjectSource::Executable(_) => "program",
            SubjectSource::Aws(_) => "AWS",
        };
        format!("{federation} ({source})")
    }

    /// Whom the token stands for.
    pub(crate) fn principal(&self) -> &str {
        self.impersonation_url.as_deref().map_or(&self.audience, target_of)
    }

    pub(crate) async fn fetch(&self, asking: &Asking<'_>) -> Result<AccessToken, Failure> {
        let subject_token = self.subject_token(asking).await?;
        // A token that is only used to become somebody else needs no more than the right to do that.
        let scope = if self.impersonation_url.is_some() { IAM_SCOPE.to_owned() } else { asking.scope() };
        let plain = |text: &str| Field::Plain(text.to_owned());
        let mut form = vec![
            ("grant_type", plain("urn:ietf:params:oauth:grant-type:token-exchange")),
            ("audience", plain(&self.audience)),
            ("scope", Field::Plain(scope)),
            ("requested_token_type", plain("urn:ietf:params:oauth:token-type:access_token")),
            ("subject_token", Field::Secret(subject_token)),
            ("subject_token_type", plain(&self.subject_token_type)),
        ];
        // A client's own project is charged; without a client, the file names one (AIP-4117, workforce pools).
        if let (None, Some(project)) = (&self.client, &self.workforce_pool_user_project) {
            form.push(("options", Field::Plain(json!({"userProject": project}).to_string())));
        }
        let request = Request::form(asking.token_uri.unwrap_or(&self.token_url), form);
        let token = asking.exchanged(&Client::authenticate(self.client.as_ref(), request)).await?;
        match &self.impersonation_url {
            None => Ok(token),
            Some(url) => {
                impersonate(asking, &token.value, Some(&self.audience), url, &[], self.lifetime, None).await
            }
        }
    }

    async fn subject_token(&self, asking: &Asking<'_>) -> Result<Secret, Failure> {
        match &self.source {
            SubjectSource::File { path, format } => of_file(asking.world, self.option, path, format).await,
            SubjectSource::Url { url, headers, format } => {
                of_url(asking, self.option, url, headers, format).await
            }
            SubjectSource::Executable(executable) => {
                let wanted = Wanted {
                    option: self.option,
                    audience: &self.audience,
                    token_type: &self.subject_token_type,
                    impersonated_email: self.impersonation_url.as_deref().map(target_of),
                };
                executable.subject_token(asking.world, &wanted).await
            }
            SubjectSource::Aws(aws) => aws.subject_token(asking, &self.audience).await,
        }
    }
}

impl Client {
    pub(crate) fn read(file: &CredentialFile) -> Result<Option<Self>, Failure> {
        let secret = file.optional_secret("client_secret")?;
        Ok(file.optional("client_id")?.map(|id| Self { id: id.to_owned(), secret }))
    }

    pub(crate) fn authenticate(client: Option<&Self>, request: Request) -> Request {
        let Some(Self { id, secret }) = client else { return request };
        let pair = format!("{id}:{}", secret.as_ref().map_or("", Secret::expose));
        request.secret_header("Authorization", format!("Basic {}", STANDARD.encode(pair)))
    }
}

impl SubjectSource {
    fn read(source: &CredentialFile) -> Result<Self, Failure> {
        let text = |name| source.optional(name).map(|text| text.map(str::to_owned));
        let address = |name| source.address(name).map(|address| address.map(|(written, _)| written));
        if let Some(id) = source.optional("environment_id")? {
            if id != "aws1" {
                return Err(
                    source.wrong(&format!("names the environment {}, and only `aws1` is known", quoted(id)))
                );
            }
            return Ok(Self::Aws(Aws {
                region_url: address("region_url")?,
                url: address("url")?,
                regional_cred_verification_url: verification_url(source)?,
                imdsv2_session_token_url: address("imdsv2_session_token_url")?,
            }));
        }
        if let Some(path) = text("file")? {
            return Ok(Self::File { path, format: Format::read(source)? });
        }
        if let Some(url) = address("url")? {
            return Ok(Self::Url { url, headers: headers(source)?, format: Format::read(source)? });
        }
        if source.has("executable") {
            let executable = source.object("executable")?;
            return Ok(Self::Executable(Executable {
                command: executable.mandatory("command")?.to_owned(),
                timeout: executable.whole_number("timeout_millis")?.map(Duration::from_millis),
                output_file: executable.optional("output_file")?.map(str::to_owned),
            }));
        }
        if source.has("certificate") {
            return Err(source.wrong("names a client certificate (X.509 federation), which is not supported"));
        }
        Err(source
            .wrong("names no source of a subject token (`file`, `url`, `executable` or `environment_id`)"))
    }
}

/// The token endpoint, which has to be there. The address beside it, which tells about tokens, is never asked; but a file that
/// names a foreign one is none of Google's.
fn token_url(file: &CredentialFile) -> Result<String, Failure> {
    file.token_endpoint("token_info_url")?;
    file.token_endpoint("token_url")?.ok_or_else(|| file.wrong("lacks `token_url`"))
}

/// The address of AWS that Google is to ask, with `{region}` in it.
fn verification_url(source: &CredentialFile) -> Result<String, Failure> {
    const NAME: &str = "regional_cred_verification_url";
    let written = source.mandatory(NAME)?;
    let url = Url::parse(&written.replace("{region}", "region")).ok();
    let is_plain = written.chars().all(|letter| letter.is_ascii_graphic() && letter != '\\');
    if is_plain && url.is_some_and(|url| url.scheme() == "https" && url.has_host()) {
        return Ok(written.to_owned());
    }
    Err(source.wrong(&format!("holds a `{NAME}` that is no address of an HTTPS server")))
}

/// `headers`, which a subject token's address wants to see.
fn headers(source: &CredentialFile) -> Result<Vec<(String, Secret)>, Failure> {
    let Some(headers) = source.optional_object("headers")? else { return Ok(Vec::new()) };
    if headers.has_others_than_secrets() {
        return Err(source.wrong("holds something else than strings in `headers`"));
    }
    let headers = headers.secrets();
    let fits = |(name, value): &(String, Secret)| {
        HeaderName::from_bytes(name.as_bytes()).is_ok() && HeaderValue::from_str(value.expose()).is_ok()
    };
    if headers.iter().all(fits) {
        return Ok(headers);
    }
    Err(source.wrong("holds in `headers` what cannot be a header field"))
}

/// An `external_account_authorized_user` file: the login of a workforce pool's user.
pub(crate) struct ExternalUser {
    token_url: String,
    refresh_token: Secret,
    client: Option<Client>,
    pub(crate) quota_project: Option<String>,
}

impl ExternalUser {
    pub(crate) fn read(file: &CredentialFile) -> Result<Self, Failure> {
        file.mandatory("client_id")?;
        file.secret("client_secret")?;
        Ok(Self {
            token_url: token_url(file)?,
            refresh_token: file.secret("refresh_token")?,
            client: Client::read(file)?,
            quota_project: file.quota_project()?,
        })
    }

    pub(crate) async fn fetch(&self, asking: &Asking<'_>) -> Result<AccessToken, Failure> {
        let form = vec![
            ("grant_type", Field::Plain("refresh_token".to_owned())),
            ("refresh_token", Field::Secret(self.refresh_token.clone())),
        ];
        let request = Request::form(asking.token_uri.unwrap_or(&self.token_url), form);
        asking.token(&Client::authenticate(self.client.as_ref(), request)).await
    }
}
