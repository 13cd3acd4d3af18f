//! The metadata server of a virtual machine at Google, a host of its own: plain HTTP, and never through a proxy.

use crate::{
    access::PROJECT_NUMBER,
    federation::machine_account,
    identity::PROJECT,
    oauth::mint,
    serve::drain,
    tokens::{CLOUD_PLATFORM, KNOWN_SCOPES, Principal},
    world::World,
};
use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

const ROOT: &str = "/computeMetadata/v1/";
const FLAVOR: &str = "metadata-flavor";

const ABOUT_PEOPLE: [&str; 3] = [
    "https://www.googleapis.com/auth/accounts.reauth",
    "https://www.googleapis.com/auth/userinfo.email",
    "openid",
];

/// Tokens by their scopes, with the second they end: what makes the server answer the same one again.
pub(crate) type Cache = HashMap<Vec<String>, (String, i64)>;

/// What is answered.
enum Found {
    Text(String),
    Json(Value),
    /// To the folder's own address, with a slash.
    Moved,
}

/// Answers one request.
pub(crate) async fn answer(State(world): State<Arc<World>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    drain(body, u64::MAX).await;
    let path = parts.uri.path().to_owned();
    let query = parts.uri.query().unwrap_or_default();
    // A request line with a whole URL is how one speaks to a proxy.
    let proxied = parts.version < Version::HTTP_2 && parts.uri.authority().is_some();
    let mut response = match check(&parts.method, &parts.headers, proxied, &path) {
        Err((status, reason)) => page(status, &path, reason),
        Ok(()) => match find(&world, &path, &query_fields(query)) {
            Ok(Some(Found::Text(text))) => {
                ([(header::CONTENT_TYPE, "application/text")], text).into_response()
            }
            Ok(Some(Found::Json(value))) => axum::Json(value).into_response(),
            Ok(Some(Found::Moved)) => {
                (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, format!("{path}/"))]).into_response()
            }
            Ok(None) => page(StatusCode::NOT_FOUND, &path, "was not found on this server."),
            Err(()) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        },
    };
    let headers = response.headers_mut();
    headers.insert(FLAVOR, HeaderValue::from_static("Google"));
    headers.insert(header::SERVER, HeaderValue::from_static("Metadata Server for VM"));
    response
}

/// What the server refuses before it looks at the path. The root tells that it is there to whoever asks.
fn check(
    method: &Method,
    headers: &HeaderMap,
    proxied: bool,
    path: &str,
) -> Result<(), (StatusCode, &'static str)> {
    if proxied || ["x-forwarded-for", "forwarded", "via"].iter().any(|name| headers.contains_key(*name)) {
        return Err((StatusCode::FORBIDDEN, "from this server: it came through a proxy."));
    }
    if method != Method::GET && method != Method::HEAD {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "with this method."));
    }
    if path != "/" && headers.get(FLAVOR).is_none_or(|flavor| flavor != "Google") {
        return Err((StatusCode::FORBIDDEN, "from this server. Missing Metadata-Flavor:Google header."));
    }
    Ok(())
}

/// An error as the metadata server writes it: a page.
fn page(status: StatusCode, path: &str, reason: &str) -> Response {
    let path: String = path.chars().filter(|character| !"<>&\"'".contains(*character)).collect();
    let (code, name) = (status.as_u16(), status.canonical_reason().unwrap_or_default());
    let said = if status == StatusCode::NOT_FOUND {
        format!("The requested URL <code>{path}</code> {reason}")
    } else {
        format!("Your client does not have permission to get URL <code>{path}</code> {reason}")
    };
    let text = format!(
        "<!DOCTYPE html>\n<html lang=en>\n  <title>Error {code} ({name})!!1</title>\n  <p><b>{code}.</b> <ins>That's an \
         error.</ins>\n  <p>{said}\n"
    );
    (status, [(header::CONTENT_TYPE, "text/html; charset=UTF-8")], Body::from(text)).into_response()
}

fn query_fields(query: &str) -> BTreeMap<String, String> {
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

fn find(world: &World, path: &str, query: &BTreeMap<String, String>) -> Result<Option<Found>, ()> {
    let text = |text: &str| Ok(Some(Found::Text(text.to_owned())));
    if path == "/" {
        return text("computeMetadata/\n");
    }
    let Some(name) = path.strip_prefix(ROOT) else { return Ok(None) };
    match name {
        "project/project-id" => return text(PROJECT),
        "project/numeric-project-id" => return text(PROJECT_NUMBER),
        "universe/universe-domain" => return text(&world.settings().universe_domain),
        _ => {}
    }
    let Some(name) = name.strip_prefix("instance/service-accounts") else { return Ok(None) };
    let settings = world.settings();
    let email = machine_account();
    let recursive = query.get("recursive").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let attached = settings.metadata_service_account_attached;
    let about = json!({ "aliases": ["default"], "email": email, "scopes": settings.metadata_scopes });
    let (account, rest) = match name.strip_prefix('/') {
        None if name.is_empty() => return Ok(Some(Found::Moved)),
        None => return Ok(None),
        Some("") if recursive && attached => {
            return Ok(Some(Found::Json(json!({ "default": about, email: about }))));
        }
        Some("") if recursive => return Ok(Some(Found::Json(json!({})))),
        Some("") if attached => return Ok(Some(Found::Text(format!("default/\n{email}/\n")))),
        Some("") => return text(""),
        Some(name) => name.split_once('/').map_or((name, None), |(account, rest)| (account, Some(rest))),
    };
    let known = account == "default" || account.replace("%40", "@") == email;
    if !attached || !known {
        return Ok(None);
    }
    Ok(match rest {
        None => Some(Found::Moved),
        Some("") if recursive => Some(Found::Json(about)),
        Some("") => Some(Found::Text("aliases\nemail\nscopes\ntoken\n".to_owned())),
        Some("email") => Some(Found::Text(email)),
        Some("aliases") => Some(Found::Text("default\n".to_owned())),
        Some("scopes") => Some(Found::Text(settings.metadata_scopes.join("\n") + "\n")),
        Some("token") => Some(Found::Json(token(world, query.get("scopes").map(String::as_str))?)),
        Some(_) => None,
    })
}

/// The token for the machine's scopes, narrowed to those in `asked`. It may end up with none: the API says so then.
fn token(world: &World, asked: Option<&str>) -> Result<Value, ()> {
    let settings = world.settings();
    let machine = settings.metadata_scopes;
    let scopes: Vec<String> = match asked.filter(|list| !list.is_empty()) {
        None => machine,
        Some(list) => {
            // cloud-platform holds what the single APIs' scopes hold, but nothing about people.
            let covers = |scope: &str| {
                let whole = machine.iter().any(|have| have == CLOUD_PLATFORM);
                machine.iter().any(|have| have == scope)
                    || (whole && KNOWN_SCOPES.contains(&scope) && !ABOUT_PEOPLE.contains(&scope))
            };
            let mut scopes: Vec<String> =
                list.split(',').filter(|scope| covers(scope)).map(str::to_owned).collect();
            scopes.sort();
            scopes.dedup();
            scopes
        }
    };
    let now = world.now();
    let margin = i64::try_from(settings.metadata_cache_margin_seconds).unwrap_or(i64::MAX);
    let mut cache = world.metadata_cache();
    let kept =
        cache.get(&scopes).filter(|(text, ends)| now < ends.saturating_sub(margin) && world.is_live(text));
    let (text, ends) = if let Some(kept) = kept {
        kept.clone()
    } else {
        let account = Principal::ServiceAccount(machine_account());
        let text = mint(world, scopes.clone(), settings.token_lifetime_seconds, account).map_err(drop)?;
        let new = (text, now.saturating_add_unsigned(settings.token_lifetime_seconds));
        cache.insert(scopes, new.clone());
        new
    };
    let left = ends - now;
    let expires_in = if settings.expires_in_as_string { json!(left.to_string()) } else { json!(left) };
    Ok(json!({ "access_token": text, "expires_in": expires_in, "token_type": "Bearer" }))
}
