//! Acting as a service account: IAM's `generateAccessToken` (AIP-4112's sibling for delegation,
//! `projects.serviceAccounts.generateAccessToken` in the IAM Service Account Credentials API).

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    AccessToken, Failure, FailureKind, Request, Secret, asking::Asking, credential_file::CredentialFile,
    http::shown_url, remedy, token::is_header_value,
};

/// How long a token is asked for: what every project allows without further leave.
pub(crate) const LIFETIME: Duration = Duration::from_secs(3600);
/// Where the API is, for the universe `googleapis.com`.
pub(crate) const DEFAULT_IAM_URI: &str = "https://iamcredentials.googleapis.com/";

/// Whom to act as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Impersonation {
    /// The service account's e-mail address.
    pub target: String,
    /// The chain of service accounts in between, nearest first.
    pub delegates: Vec<String>,
}

impl Impersonation {
    /// Reads `target`, or `delegate,…,target` as gcloud's `--impersonate-service-account` has it; `None` where a part is
    /// no e-mail address.
    pub fn parse(text: &str) -> Option<Self> {
        let mut accounts: Vec<String> = text.split(',').map(|part| part.trim().to_owned()).collect();
        if !accounts.iter().all(|account| is_email(account)) {
            return None;
        }
        Some(Self { target: accounts.pop()?, delegates: accounts })
    }

    /// The address of the method, below `iam_uri`, which ends with a slash.
    pub(crate) fn url(&self, iam_uri: &str) -> String {
        format!("{iam_uri}v1/{}:generateAccessToken", resource(&self.target))
    }
}

/// The member of a credential's file that says whom to act as.
pub(crate) const URL_MEMBER: &str = "service_account_impersonation_url";

/// `service_account_impersonation_url` of a credential's file, which may be missing: the address of `generateAccessToken` of an
/// account, at Google or where `IamUri` says.
pub(crate) fn url_in(file: &CredentialFile) -> Result<Option<String>, Failure> {
    let Some((written, url)) = file.address(URL_MEMBER)? else { return Ok(None) };
    let account = url.path().rsplit_once("/serviceAccounts/");
    let account = account.and_then(|(_, last)| last.strip_suffix(":generateAccessToken"));
    let is_account = |account: &str| is_email(&account.replace("%40", "@")) || is_unique_id(account);
    if !account.is_some_and(is_account) || url.query().is_some() || url.fragment().is_some() {
        return Err(file.wrong(&format!(
            "holds a `{URL_MEMBER}` that does not end with `/serviceAccounts/`, the e-mail address of a service account and `:generateAccessToken`"
        )));
    }
    let root = url.origin().ascii_serialization();
    file.check_endpoint(URL_MEMBER, &url, &format!("IamUri to {root}/"))?;
    Ok(Some(written))
}

/// `delegates` of a credential's file, which may be missing.
pub(crate) fn delegates_in(file: &CredentialFile) -> Result<Vec<String>, Failure> {
    let delegates = file.strings("delegates")?;
    let is_account = |delegate: &String| {
        let account =
            delegate.rsplit_once("/serviceAccounts/").map_or(delegate.as_str(), |(_, account)| account);
        is_email(account) || is_unique_id(account)
    };
    if delegates.iter().all(is_account) {
        return Ok(delegates);
    }
    Err(file.wrong("holds something else than service accounts in `delegates`"))
}

/// The target that a `service_account_impersonation_url` names, for messages.
pub(crate) fn target_of(url: &str) -> &str {
    let last = url.rsplit('/').next().unwrap_or(url);
    last.split(':').next().unwrap_or(last)
}

/// Exchanges `source`, the token of `principal`, for one of the service account that `url` names. The request is charged to
/// `quota_project`: without one, a login's would be charged to Google's own project and refused (AIP-4113).
pub(crate) async fn impersonate(
    asking: &Asking<'_>,
    source: &Secret,
    principal: Option<&str>,
    url: &str,
    delegates: &[String],
    lifetime: Duration,
    quota_project: Option<&str>,
) -> Result<AccessToken, Failure> {
    let delegates: Vec<String> = delegates.iter().map(|delegate| resource(delegate)).collect();
    let body = json!({
        "delegates": delegates,
        "scope": asking.scopes,
        "lifetime": format!("{}s", lifetime.as_secs()),
    });
    let mut request =
        Request::json(url, body).secret_header("Authorization", format!("Bearer {}", source.expose()));
    if let Some(project) = quota_project {
        request = request.header("X-Goog-User-Project", project);
    }
    let sent_at = asking.world.now();
    let response = asking.send(&request).await?;
    if response.status != 200 {
        let parties = remedy::Parties { principal, target: Some(target_of(url)) };
        return Err(remedy::of_impersonation(url, &response, sent_at, parties));
    }
    let wrong = |what: &str| {
        let cause = format!("{} answered 200, but {what}", shown_url(url));
        Failure::new(
            FailureKind::Transient,
            cause,
            "a proxy or captive portal may have answered in Google's place",
        )
    };
    let answer: Value = serde_json::from_slice(&response.body)
        .map_err(|_| wrong(&format!("not with JSON: \"{}\"", response.quoted())))?;
    let value = answer.get("accessToken").and_then(Value::as_str).filter(|token| !token.is_empty());
    let value = value.ok_or_else(|| wrong("without `accessToken`"))?;
    if !is_header_value(value) {
        return Err(wrong("its `accessToken` is no token"));
    }
    let expire_time = answer.get("expireTime").and_then(Value::as_str);
    let expire_time = expire_time.and_then(|time| humantime::parse_rfc3339(time).ok());
    let expire_time = expire_time.ok_or_else(|| wrong("without a date as `expireTime`"))?;
    // A date by Google's clock: this machine's may be wrong, and the token lives no longer for that.
    let date = response.header("date").and_then(|date| httpdate::parse_http_date(date).ok());
    let life = expire_time.duration_since(date.unwrap_or(sent_at)).unwrap_or_default();
    if life.is_zero() {
        return Err(wrong("with a token whose time is over"));
    }
    let expires_at = sent_at + life.min(lifetime);
    Ok(AccessToken { value: Secret::new(value), obtained_at: sent_at, expires_at })
}

/// A service account's resource name: the project is inferred from the address.
fn resource(account: &str) -> String {
    if account.starts_with("projects/") {
        account.to_owned()
    } else {
        format!("projects/-/serviceAccounts/{account}")
    }
}

/// A service account's number, which IAM takes in place of its address.
fn is_unique_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_email(text: &str) -> bool {
    let plain =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    text.split_once('@').is_some_and(|(user, domain)| plain(user) && plain(domain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_are_read_as_gcloud_reads_them() {
        let impersonation =
            Impersonation::parse("a@p.iam.gserviceaccount.com, b@q.iam.gserviceaccount.com").unwrap();
        assert_eq!(impersonation.target, "b@q.iam.gserviceaccount.com");
        assert_eq!(impersonation.delegates, ["a@p.iam.gserviceaccount.com"]);
        assert_eq!(
            impersonation.url(DEFAULT_IAM_URI),
            "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/b@q.iam.gserviceaccount.com:generateAccessToken"
        );
        assert_eq!(target_of(&impersonation.url(DEFAULT_IAM_URI)), "b@q.iam.gserviceaccount.com");
        for wrong in ["", ",", "a", "a@", "a@b,", "a/b@c", "a@b c@d"] {
            assert_eq!(Impersonation::parse(wrong), None, "{wrong}");
        }
    }
}
