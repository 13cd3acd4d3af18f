//! Which requests are answered: what they are made of, their path, secret and origin.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use subtle::ConstantTimeEq as _;

use crate::{
    accept,
    body::{self, ResponseBody},
    dispatch,
    gateway::Shared,
    origin, passed_fields,
    path::{self, Target},
    places::Place,
    refusal::Refusal,
    store::Store,
    system_parameters,
};

/// What is passed on. TRACE would give the token back (RFC 9110 section 9.3.8), and CONNECT has no path.
const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
/// Answers without a secret whether the gateway serves.
const HEALTH: &str = "/health";
const METHODS_OF_HEALTH: [Method; 3] = [Method::GET, Method::HEAD, Method::OPTIONS];
/// Header fields of a request, which are as many as curl takes. Few of them are passed on.
pub(crate) const MOST_FIELDS: usize = 5_000;
/// The rest of a request that is refused is read for so long, so that its client comes to reading the answer.
const DRAIN: Duration = Duration::from_secs(10);

/// Answers a request, and says which pages may read the answer. A connection without a permitted request is closed: its place
/// is for others.
pub(crate) async fn answer(
    shared: &Arc<Shared>,
    place: &Arc<Place>,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    let allowed = &shared.settings.allowed_origins;
    let origin = request.headers().get(header::ORIGIN).cloned();
    let answer = match origin::preflight(&request, allowed) {
        Some(response) => Err(response),
        None => match target_of(shared, &request) {
            Ok(target) => if_permitted(shared, place, &target, request).await,
            Err(response) => Err(*response),
        },
    };
    let mut response = answer.unwrap_or_else(|mut turned_away| {
        turned_away.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        turned_away
    });
    origin::protect(origin, &mut response, allowed);
    response
}

/// The target of a request that may be passed on, whoever sent it.
fn target_of(shared: &Shared, request: &Request<Incoming>) -> Result<String, Box<Response<ResponseBody>>> {
    let target = request.uri().path_and_query().map_or_else(String::new, ToString::to_string);
    let path = target.split('?').next().unwrap_or_default();
    if path.strip_suffix('/').unwrap_or(path) == HEALTH {
        return Err(Box::new(health(request.method())));
    }
    let fields = request.headers().len();
    if fields > MOST_FIELDS {
        let cause = format!("the request has {fields} header fields, and the gateway takes {MOST_FIELDS}");
        let remedy = "see which proxy or client adds them";
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return Err(Box::new(Refusal::own(status, &cause, remedy).into_response()));
    }
    if request.version() < Version::HTTP_11 {
        // Where the end of the connection is the end of the body, a part could not be told from the whole.
        let cause = "the request is HTTP/1.0, in which an answer that breaks off looks like one that ends";
        let remedy = "send HTTP/1.1; in nginx: `proxy_http_version 1.1;`";
        let mut refusal = Refusal::own(StatusCode::UPGRADE_REQUIRED, cause, remedy).into_response();
        refusal.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("HTTP/1.1"));
        return Err(Box::new(refusal));
    }
    if !METHODS.contains(request.method()) {
        let cause = format!("{} is no method of DICOMweb", request.method());
        let refusal = not_allowed(&cause, "use those of PS3.18 section 10", &METHODS);
        shared.troubles.turned_away("its method is none of DICOMweb; see what sends it");
        return Err(Box::new(refusal));
    }
    Ok(target)
}

/// Whether the gateway serves, for monitors and load balancers: whatever they ask with.
fn health(method: &Method) -> Response<ResponseBody> {
    if *method == Method::OPTIONS {
        let mut response = Response::new(body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().extend(allow(&METHODS_OF_HEALTH));
        return response;
    }
    if !METHODS_OF_HEALTH.contains(method) {
        return not_allowed("/health only answers questions", "use GET or HEAD", &METHODS_OF_HEALTH);
    }
    let mut response = Response::new(body::whole("ok\n"));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn not_allowed(cause: &str, remedy: &str, methods: &[Method]) -> Response<ResponseBody> {
    let mut refusal = Refusal::own(StatusCode::METHOD_NOT_ALLOWED, cause, remedy).into_response();
    refusal.headers_mut().extend(allow(methods));
    refusal
}

/// `Allow` (RFC 9110 section 10.2.1).
fn allow(methods: &[Method]) -> HeaderMap {
    let methods: Vec<&str> = methods.iter().map(Method::as_str).collect();
    HeaderValue::from_str(&methods.join(", ")).map(|methods| (header::ALLOW, methods)).into_iter().collect()
}

/// Answers a request, if whoever sent it may ask; else what that is told.
async fn if_permitted(
    shared: &Arc<Shared>,
    place: &Arc<Place>,
    target: &str,
    mut request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Response<ResponseBody>> {
    let mut target = target.to_owned();
    accept::move_from_query(&mut target, request.headers_mut());
    let target = match path::take_apart(&target) {
        Ok(target) => target,
        Err(outside) => {
            shared
                .troubles
                .turned_away(&format!("it would leave its account ({outside}); see what sends it"));
            let remedy = "ask for a path below the account's DICOMweb root, as PS3.18 section 10 has them";
            return Err(Refusal::own(StatusCode::BAD_REQUEST, &outside.to_string(), remedy).into_response());
        }
    };
    let Some(store) = permitted(shared, &target.account, request.headers()) else {
        return Err(without_account(shared));
    };
    let (headers, allowed) = (request.headers(), &shared.settings.allowed_origins);
    if origin::is_foreign(headers, allowed)
        || (store.secret.is_none() && !origin::is_for_this_machine(headers) && !shared.settings.serves_others)
    {
        shared.troubles.turned_away(
            "it comes from a web page that may not ask, or to a name that is not this machine's; allow the page's origin if it is your viewer's",
        );
        let cause =
            "the request comes from a web page that may not ask, or to a name that is not this machine's";
        let remedy = "allow the page's origin, or use the address on which the gateway listens";
        return Err(Refusal::own(StatusCode::FORBIDDEN, cause, remedy).into_response());
    }
    // Until the last byte of the answer is sent.
    let busy = place.admit().await;
    let response = match unsuitable(&target, store, request.headers()) {
        None => {
            passed_fields::retain(request.headers_mut(), &store.passed_fields);
            dispatch::answer(shared, store, &target, request).await
        }
        Some(refusal) => {
            drain(request).await;
            refusal
        }
    };
    Ok(response.map(|body| {
        body.map_err(move |error| {
            let _ = &busy;
            error
        })
        .boxed_unsync()
    }))
}

/// What is answered to those who have no account here.
fn without_account(shared: &Shared) -> Response<ResponseBody> {
    if shared.stores.iter().all(|store| store.secret.is_none()) {
        let names: Vec<_> = shared.stores.iter().map(|store| format!("/{}/", store.name)).collect();
        let cause = "there is no such account, or its configuration is wrong";
        let remedy = format!("ask for a path below {}", names.join(", "));
        return Refusal::own(StatusCode::NOT_FOUND, cause, &remedy).into_response();
    }
    shared
        .troubles
        .turned_away("it does not have an account's secret; see which program of this machine sends it");
    let cause = "the request does not have the account's secret, or there is no such account";
    let remedy = "send it as `Authorization: Bearer …`";
    let mut refusal = Refusal::own(StatusCode::UNAUTHORIZED, cause, remedy).into_response();
    refusal.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    refusal
}

/// What is answered to a request of a permitted client that asks for more than DICOMweb, or in a form that would be
/// misunderstood on the way.
fn unsuitable(target: &Target<'_>, store: &Store, headers: &HeaderMap) -> Option<Response<ResponseBody>> {
    let refuse = |status, cause: String, remedy| Some(Refusal::own(status, &cause, remedy).into_response());
    if let Some(parameter) = target.query.and_then(system_parameters::in_query) {
        return refuse(
            StatusCode::BAD_REQUEST,
            format!("the query has a parameter that steers Google's servers ({parameter})"),
            "leave it out: the gateway passes on what PS3.18 has",
        );
    }
    if let Some(field) = system_parameters::in_headers(headers, &store.passed_fields) {
        return refuse(
            StatusCode::BAD_REQUEST,
            format!("the request has the header field {field}, which steers Google's servers"),
            "leave it out: the gateway passes on what PS3.18 has, and X-Goog-User-Project",
        );
    }
    let is = |name: header::HeaderName, value: &str| {
        headers.get_all(name).iter().all(|found| found.as_bytes().eq_ignore_ascii_case(value.as_bytes()))
    };
    if !is(header::TRANSFER_ENCODING, "chunked") {
        return refuse(
            StatusCode::NOT_IMPLEMENTED,
            "the request's Transfer-Encoding is another one than chunked".to_owned(),
            "send the body as it is, in chunks or with Content-Length",
        );
    }
    let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let is_form = b"application/x-www-form-urlencoded";
    if content_type.get(..is_form.len()).is_some_and(|begins| begins.eq_ignore_ascii_case(is_form)) {
        // Google's servers would take what it has for parameters of the query.
        return refuse(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the request's body is a web form, which is nothing of DICOMweb".to_owned(),
            "send a media type of PS3.18 section 8.7 as Content-Type",
        );
    }
    None
}

/// Reads what the client still sends, and drops it. One that waits until it may send (`Expect`) is not told to.
pub(crate) async fn drain(request: Request<Incoming>) {
    if request.headers().contains_key(header::EXPECT) {
        return;
    }
    let mut body = request.into_body();
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    // What comes later is lost, with the answer.
    drop(tokio::time::timeout(DRAIN, rest).await);
}

/// The account that is meant, if the request has its secret (RFC 6750 section 2.1).
///
/// All of them are compared, each in the same time whatever is sent, so that neither a secret nor the name of an account
/// can be found out by measuring.
fn permitted<'a>(shared: &'a Shared, account: &str, headers: &HeaderMap) -> Option<&'a Store> {
    let sent = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    let sent = sent.strip_prefix(b"Bearer ").unwrap_or_default();
    let mut permitted = None;
    for store in &shared.stores {
        let fits = match &store.secret {
            None => true,
            Some(secret) => bool::from(secret.expose().as_bytes().ct_eq(sent)),
        };
        if fits && store.name == account {
            permitted = Some(store);
        }
    }
    permitted
}
