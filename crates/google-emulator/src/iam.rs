//! IAM Service Account Credentials: `generateAccessToken`, what impersonation rests on.

use crate::{
    access::{IAM_CREDENTIALS, caller},
    assertion::scopes,
    clock::rfc3339,
    google_error::GoogleError,
    oauth::mint,
    record::RequestNumber,
    serve::drain,
    settings::DEFAULT_TOKEN_LIFETIME,
    tokens::Principal,
    world::World,
};
use axum::{
    Extension, Json,
    body::{Body, to_bytes},
    extract::{Path, State},
    http::{HeaderMap, Method, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The longest life of a token, in seconds, and the longest for accounts that the organisation policy allows more.
const LONGEST_LIFE: u64 = 3_600;
const LONGEST_EXTENDED_LIFE: u64 = 43_200;

/// The longest body, in bytes.
const LONGEST_BODY: usize = 1 << 20;

/// Who may impersonate whom: pairs of principal and service account.
pub(crate) type Grants = BTreeSet<(String, String)>;

/// Answers one request below `/v1/projects/…/serviceAccounts/`.
pub(crate) async fn answer(
    State(world): State<Arc<World>>,
    Extension(number): Extension<RequestNumber>,
    Path((project, resource)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let target = resource.strip_suffix(":generateAccessToken").filter(|_| method == Method::POST);
    let Some(target) = target else {
        drain(body, u64::MAX).await;
        return GoogleError::not_found("The requested URL was not found on this server.").into_response();
    };
    let body = to_bytes(body, LONGEST_BODY).await;
    let result = body
        .map_err(|_| GoogleError::bad_request("The body could not be read."))
        .and_then(|body| generate(&world, number, &project, target, &headers, &body));
    result.map_or_else(IntoResponse::into_response, |answer| Json(answer).into_response())
}

fn generate(
    world: &World,
    number: RequestNumber,
    project: &str,
    target: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Value, GoogleError> {
    let fields = fields(headers, body);
    if let Ok(fields) = &fields {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let noted: BTreeMap<String, String> =
            fields.iter().map(|(name, value)| (name.clone(), text(value))).collect();
        world.record.note_fields(number, &noted);
    }
    let method = "google.iam.credentials.v1.IAMCredentials.GenerateAccessToken";
    let principal = caller(world, headers, &IAM_CREDENTIALS, method)?;
    let asked = Asked::parse(&fields?)?;
    if project != "-" {
        return Err(GoogleError::bad_request(
            "Request contains an invalid argument: the project must be the wildcard \"-\".",
        ));
    }
    let longest = if world.settings().extended_lifetime_accounts.iter().any(|account| account == target) {
        LONGEST_EXTENDED_LIFE
    } else {
        LONGEST_LIFE
    };
    if asked.lifetime == 0 || asked.lifetime > longest {
        return Err(GoogleError::bad_request(format!(
            "Request contains an invalid argument: the lifetime must be between 1s and {longest}s."
        )));
    }
    let chain: Vec<&str> = std::iter::once(principal.name())
        .chain(asked.delegates.iter().map(String::as_str))
        .chain([target])
        .collect();
    if !chain.windows(2).all(|pair| matches!(pair, [from, to] if world.may_impersonate(from, to))) {
        return Err(denied());
    }
    let configured = world.settings().token_lifetime_seconds;
    // Google gives what was asked for; a test that wants short lives sets another than the default.
    let lifetime =
        if configured == DEFAULT_TOKEN_LIFETIME { asked.lifetime } else { asked.lifetime.min(configured) };
    let account = Principal::ServiceAccount(target.to_owned());
    let token = mint(world, asked.scopes, lifetime, account)
        .map_err(|error| GoogleError::internal(error.description))?;
    Ok(json!({
        "accessToken": token,
        "expireTime": rfc3339(world.now().saturating_add_unsigned(lifetime)),
    }))
}

fn denied() -> GoogleError {
    let details = json!([{
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "IAM_PERMISSION_DENIED",
        "domain": "iam.googleapis.com",
        "metadata": { "permission": "iam.serviceAccounts.getAccessToken" },
    }]);
    let message = "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).";
    GoogleError { details: Some(Box::new(details)), ..GoogleError::new(403, message) }
}

fn fields(headers: &HeaderMap, body: &[u8]) -> Result<Map<String, Value>, GoogleError> {
    let content_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Err(GoogleError::bad_request("Content-Type must be application/json."));
    }
    serde_json::from_slice(body).map_err(|_| {
        GoogleError::bad_request("Invalid JSON payload received. Unable to parse it as an object.")
    })
}

/// The request's body (`GenerateAccessTokenRequest`).
struct Asked {
    /// E-mail addresses.
    delegates: Vec<String>,
    scopes: Vec<String>,
    /// Seconds.
    lifetime: u64,
}

impl Asked {
    fn parse(fields: &Map<String, Value>) -> Result<Self, GoogleError> {
        if let Some(unknown) =
            fields.keys().find(|name| !["delegates", "scope", "lifetime"].contains(&name.as_str()))
        {
            return Err(GoogleError::bad_request(format!(
                "Invalid JSON payload received. Unknown name \"{unknown}\": Cannot find field."
            )));
        }
        let wrong = |name: &str| GoogleError::bad_request(format!("Invalid value at '{name}'"));
        let list = |name: &str| match fields.get(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(value) => serde_json::from_value::<Vec<String>>(value.clone()).map_err(|_| wrong(name)),
        };
        let account = |name: String| {
            let email = name.strip_prefix("projects/-/serviceAccounts/").filter(|email| email.contains('@'));
            email.map(str::to_owned).ok_or_else(|| wrong("delegates"))
        };
        let delegates = list("delegates")?.into_iter().map(account).collect::<Result<_, _>>()?;
        let scope = list("scope")?;
        if scope.is_empty() {
            return Err(GoogleError::bad_request("Scope required."));
        }
        let each_alone = scope.iter().all(|scope| !scope.contains(' '));
        let scopes = scopes(&scope.join(" ")).filter(|_| each_alone).ok_or_else(|| {
            GoogleError::bad_request("Request contains an invalid argument: a scope is unknown.")
        })?;
        let lifetime = match fields.get("lifetime") {
            None | Some(Value::Null) => LONGEST_LIFE,
            Some(value) => {
                let seconds = value.as_str().and_then(|text| text.strip_suffix('s'));
                let seconds = seconds.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
                seconds.and_then(|digits| digits.parse().ok()).ok_or_else(|| {
                    GoogleError::bad_request(format!(
                        "Invalid value at 'lifetime' (type.googleapis.com/google.protobuf.Duration), {value}"
                    ))
                })?
            }
        };
        Ok(Self { delegates, scopes, lifetime })
    }
}
