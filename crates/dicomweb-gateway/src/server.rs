//! The HTTP server: who may connect, how slowly, and who may ask.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use subtle::ConstantTimeEq as _;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, Semaphore, watch},
    task::JoinSet,
};
use tokio_io_timeout::TimeoutStream;

use crate::{
    accept,
    body::{self, ResponseBody},
    client_gone::Watch,
    dispatch,
    gateway::Shared,
    origin, path,
    refusal::Refusal,
    store::Store,
};

/// Connections served at once; more wait. Each takes some 10 kB before it has shown a secret, and never more than
/// hyper's 400 kB for header fields.
const CONNECTIONS: usize = 256;
/// Whoever connects has to send a request's header fields within this time: who holds places without asking for anything
/// does not keep others out for long.
const FIRST_HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// The same for the next request on the same connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Whoever asked has to take some of the answer within this time. Orthanc stores each instance that it gets before it reads
/// on, which for gigabytes on a slow disk takes minutes.
const CLIENT_WRITE_TIMEOUT: Duration = Duration::from_secs(600);
/// After a failure to accept (no descriptors left) nobody is let in for so long.
const AFTER_A_FAILURE: Duration = Duration::from_millis(200);

pub(crate) async fn serve(shared: &Arc<Shared>, listener: TcpListener, stop: impl Future<Output = ()>) {
    let mut stop = pin!(stop);
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let (stopping, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            let place = Arc::clone(&room).acquire_owned().await;
            (listener.accept().await, place)
        };
        tokio::select! {
            () = &mut stop => break,
            (accepted, place) = accepted => match accepted {
                Ok((stream, _)) => {
                    let connection = connection(Arc::clone(shared), stream, stopped.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!("the gateway could not take a connection ({error}); raise the limit of open files if this lasts");
                    shared.world.sleep(AFTER_A_FAILURE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    drop(stopping);
    while connections.join_next().await.is_some() {}
    shared.overwriting.finished().await;
}

/// Answers the requests of one connection; after a stop, the one under way.
async fn connection(shared: Arc<Shared>, stream: TcpStream, mut stopped: watch::Receiver<()>) {
    // Not fatal: answers come a little later.
    drop(stream.set_nodelay(true));
    let Ok((stream, watch, gone)) = Watch::over(stream) else { return };
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(CLIENT_WRITE_TIMEOUT));
    let limit = shared.settings.inactivity;
    let watch = watch.run(Arc::clone(&shared.world));
    let asked = Arc::new(Notify::new());
    let has_asked = Arc::clone(&asked);
    let service = service_fn(move |mut request: Request<Incoming>| {
        asked.notify_one();
        let shared = Arc::clone(&shared);
        request.extensions_mut().insert(gone.clone());
        async move { Ok::<_, Infallible>(answer(&shared, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT.min(limit))
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    let mut connection = pin!(connection);
    let serving = async {
        tokio::select! {
            outcome = &mut connection => outcome,
            // Closed: the gateway stops.
            _ = stopped.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    let says_nothing = async {
        if tokio::time::timeout(FIRST_HEADER_TIMEOUT, has_asked.notified()).await.is_ok() {
            std::future::pending::<()>().await;
        }
    };
    let outcome = tokio::select! {
        outcome = serving => outcome,
        () = says_nothing => return,
        never = watch => match never {},
    };
    if let Err(error) = outcome {
        tracing::debug!("a connection to the gateway ended early: {error}");
    }
}

/// Answers a request, and lets the page that it may come from read the answer.
async fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Response<ResponseBody> {
    let allowed = &shared.settings.allowed_origins;
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = match origin::preflight(&request, allowed) {
        Some(response) => response,
        None => if_permitted(shared, request).await,
    };
    origin::let_read(origin, &mut response, allowed);
    response
}

/// Answers a request, if whoever sent it may ask.
async fn if_permitted(shared: &Arc<Shared>, mut request: Request<Incoming>) -> Response<ResponseBody> {
    let mut target = request.uri().path_and_query().map_or_else(String::new, ToString::to_string);
    if target == HEALTH && request.method() == Method::GET {
        return Response::new(body::whole("ok\n"));
    }
    if request.version() < Version::HTTP_11 {
        // Where the end of the connection is the end of the body, a part could not be told from the whole.
        let cause = "the request is HTTP/1.0, in which an answer that breaks off looks like one that ends";
        let remedy = "send HTTP/1.1; in nginx: `proxy_http_version 1.1;`";
        let mut refusal = Refusal::own(StatusCode::UPGRADE_REQUIRED, cause, remedy).into_response();
        refusal.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("HTTP/1.1"));
        return refusal;
    }
    if !METHODS.contains(request.method()) {
        let cause = format!("{} is no method of DICOMweb", request.method());
        let remedy = "use those of PS3.18 section 10";
        let mut refusal = Refusal::own(StatusCode::METHOD_NOT_ALLOWED, &cause, remedy).into_response();
        let allowed = METHODS.map(|method| method.to_string()).join(", ");
        if let Ok(allowed) = HeaderValue::from_str(&allowed) {
            refusal.headers_mut().insert(header::ALLOW, allowed);
        }
        return refusal;
    }
    accept::move_from_query(&mut target, request.headers_mut());
    let target = match path::take_apart(&target) {
        Ok(target) => target,
        Err(outside) => {
            shared
                .troubles
                .turned_away(&format!("it would leave its account ({outside}); see what sends it"));
            let remedy = "ask for a path below the account's DICOMweb root, as PS3.18 section 10 has them";
            return Refusal::own(StatusCode::BAD_REQUEST, &outside.to_string(), remedy).into_response();
        }
    };
    let Some(store) = permitted(shared, &target.account, request.headers()) else {
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
        return refusal;
    };
    let (headers, allowed) = (request.headers(), &shared.settings.allowed_origins);
    if origin::is_foreign(headers, allowed)
        || (store.secret.is_none() && !origin::is_for_this_machine(headers) && !shared.settings.serves_others)
    {
        let cause =
            "the request comes from a web page that may not ask, or to a name that is not this machine's";
        let remedy = "allow the page's origin, or use the address on which the gateway listens";
        return Refusal::own(StatusCode::FORBIDDEN, cause, remedy).into_response();
    }
    dispatch::answer(shared, store, &target, request).await
}

/// What is passed on. TRACE would give the token back (RFC 9110 section 9.3.8), and CONNECT has no path.
const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
/// Answers without a secret whether the gateway serves.
const HEALTH: &str = "/health";

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
