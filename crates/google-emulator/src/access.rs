//! Who may use an API: a live token of sufficient scope, an API that is enabled.

use crate::{
    google_error::GoogleError,
    tokens::{CLOUD_HEALTHCARE, CLOUD_PLATFORM, Principal, Standing},
    world::World,
};
use axum::http::{HeaderMap, header};
use serde_json::json;

/// The project of Google's own OAuth clients, which a user's request is charged to when it names no other.
const GOOGLES_OWN_PROJECT: &str = "32555940559";

/// The number of the emulator's one project.
pub(crate) const PROJECT_NUMBER: &str = "123456789012";

/// One of Google's APIs.
pub(crate) struct Api {
    /// Its host at Google.
    pub(crate) name: &'static str,
    title: &'static str,
    /// The scopes of which a token must have one.
    scopes: &'static [&'static str],
}

pub(crate) const HEALTHCARE: Api = Api {
    name: "healthcare.googleapis.com",
    title: "Cloud Healthcare API",
    scopes: &[CLOUD_PLATFORM, CLOUD_HEALTHCARE],
};

pub(crate) const IAM_CREDENTIALS: Api = Api {
    name: "iamcredentials.googleapis.com",
    title: "IAM Service Account Credentials API",
    scopes: &[CLOUD_PLATFORM, "https://www.googleapis.com/auth/iam"],
};

/// Whose token the request to `method` of `api` carries, when it opens the API.
pub(crate) fn caller(
    world: &World,
    headers: &HeaderMap,
    api: &Api,
    method: &str,
) -> Result<Principal, GoogleError> {
    const EXPECTED: &str = "Expected OAuth 2 access token, login cookie or other valid authentication credential. See \
                            https://developers.google.com/identity/sign-in/web/devconsole-project.";
    let refuse = |code, message: String, reason| {
        let reason = Some((reason, method.to_owned()));
        Err(GoogleError { reason, service: api.name, ..GoogleError::new(code, message) })
    };
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some((scheme, token)) = authorization.and_then(|value| value.split_once(' ')) else {
        let message = format!("Request is missing required authentication credential. {EXPECTED}");
        return refuse(401, message, "CREDENTIALS_MISSING");
    };
    let invalid = format!("Request had invalid authentication credentials. {EXPECTED}");
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return refuse(401, invalid, "ACCESS_TOKEN_TYPE_UNSUPPORTED");
    }
    let principal = match world.standing(token, api.scopes) {
        Standing::Sufficient(principal) => principal,
        Standing::Expired => return refuse(401, invalid, "ACCESS_TOKEN_EXPIRED"),
        Standing::Unknown => return refuse(401, invalid, "ACCESS_TOKEN_TYPE_UNSUPPORTED"),
        Standing::InsufficientScope => {
            let message = "Request had insufficient authentication scopes.".to_owned();
            return refuse(403, message, "ACCESS_TOKEN_SCOPE_INSUFFICIENT");
        }
    };
    if world.settings().disabled_apis.iter().any(|disabled| disabled == api.name) {
        return Err(disabled(api, PROJECT_NUMBER));
    }
    Ok(principal)
}

/// Holds a user to the quota project that the settings ask for. Service accounts and pools have a project of their own.
pub(crate) fn check_quota_project(
    world: &World,
    headers: &HeaderMap,
    principal: &Principal,
) -> Result<(), GoogleError> {
    let (Some(required), Principal::User(_)) = (world.settings().required_quota_project, principal) else {
        return Ok(());
    };
    let named = headers.get("x-goog-user-project").map(|value| value.to_str().unwrap_or_default());
    match named {
        None => Err(disabled(&HEALTHCARE, GOOGLES_OWN_PROJECT)),
        Some(named) if named == required => Ok(()),
        Some(named) => {
            let details = json!([{
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "USER_PROJECT_DENIED",
                "domain": "googleapis.com",
                "metadata": { "consumer": format!("projects/{named}"), "service": HEALTHCARE.name },
            }]);
            let message = format!(
                "Caller does not have required permission to use project {named}. Grant the caller the \
                 roles/serviceusage.serviceUsageConsumer role, or a custom role with the serviceusage.services.use \
                 permission, by visiting https://console.developers.google.com/iam-admin/iam/project?project={named} and \
                 then retry. Propagation of the new permission may take a few minutes."
            );
            Err(GoogleError { details: Some(Box::new(details)), ..GoogleError::new(403, message) })
        }
    }
}

/// 403 with the link that enables the API, as Google's service infrastructure words it.
fn disabled(api: &Api, project: &str) -> GoogleError {
    let Api { name, title, .. } = api;
    let link = format!("https://console.developers.google.com/apis/api/{name}/overview?project={project}");
    let message = format!(
        "{title} has not been used in project {project} before or it is disabled. Enable it by visiting {link} then retry. If \
         you enabled this API recently, wait a few minutes for the action to propagate to our systems and retry."
    );
    let details = json!([
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "SERVICE_DISABLED",
            "domain": "googleapis.com",
            "metadata": {
                "service": name,
                "serviceTitle": title,
                "consumer": format!("projects/{project}"),
                "containerInfo": project,
                "activationUrl": link,
            },
        },
        {
            "@type": "type.googleapis.com/google.rpc.Help",
            "links": [{ "description": "Google developers console API activation", "url": link }],
        },
    ]);
    GoogleError { details: Some(Box::new(details)), ..GoogleError::new(403, message) }
}
