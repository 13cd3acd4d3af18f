//! The HTTP server: who may connect, how slowly, and who may ask.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
    task::JoinSet,
};
use tokio_io_timeout::TimeoutStream;

use crate::{admission, client_gone::Watch, gateway::Shared, places::Place};

/// Whoever has connected and sent nothing for so long makes room if others come.
const TIME_TO_SPEAK: Duration = Duration::from_millis(100);
/// Whoever connects has to send a request's header fields within this time: who holds places without asking for anything
/// does not keep others out for long.
const FIRST_HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// The same for the next request on the same connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Header fields of a request. For more than these hyper has no words; the words are for more than
/// [`admission::MOST_FIELDS`].
const MOST_FIELDS: usize = 8_192;
/// Whoever asked has to take some of the answer within this time. Orthanc stores each instance that it gets before it reads
/// on, which for gigabytes on a slow disk takes minutes.
const CLIENT_WRITE_TIMEOUT: Duration = Duration::from_secs(600);
/// After a failure to accept (no descriptors left) nobody is let in for so long.
const AFTER_A_FAILURE: Duration = Duration::from_millis(200);

pub(crate) async fn serve(shared: &Arc<Shared>, listener: TcpListener, stop: impl Future<Output = ()>) {
    let mut stop = pin!(stop);
    let (stopping, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut report = pin!(shared.places.report(&*shared.world));
    loop {
        tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let place = tokio::select! {
                        () = &mut stop => break,
                        place = shared.places.enter() => place,
                    };
                    connections.spawn(connection(Arc::clone(shared), stream, place, stopped.clone()));
                }
                Err(error) => {
                    tracing::warn!("the gateway could not take a connection ({error}); raise the limit of open files if this lasts");
                    shared.world.sleep(AFTER_A_FAILURE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            never = &mut report => match never {},
        }
    }
    drop(listener);
    drop(stopping);
    while connections.join_next().await.is_some() {}
    shared.overwriting.finished().await;
}

/// Answers the requests of one connection; after a stop, the one under way.
async fn connection(shared: Arc<Shared>, stream: TcpStream, place: Place, mut stopped: watch::Receiver<()>) {
    let place = Arc::new(place);
    // Not fatal: answers come a little later.
    drop(stream.set_nodelay(true));
    let Ok((stream, watch, gone)) = Watch::over(stream) else { return };
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(CLIENT_WRITE_TIMEOUT));
    let limit = shared.settings.inactivity;
    let watch = watch.run(Arc::clone(&shared.world));
    let asked = Arc::new(Notify::new());
    let (has_asked, of_requests) = (Arc::clone(&asked), Arc::clone(&place));
    let service = service_fn(move |mut request: Request<Incoming>| {
        asked.notify_one();
        let (shared, place) = (Arc::clone(&shared), Arc::clone(&of_requests));
        request.extensions_mut().insert(gone.clone());
        async move { Ok::<_, Infallible>(admission::answer(&shared, &place, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT.min(limit))
        .max_headers(MOST_FIELDS)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    let mut connection = pin!(connection);
    let must_end = async {
        tokio::select! {
            // Closed: the gateway stops.
            _ = stopped.changed() => {}
            () = place.must_end() => {}
        }
    };
    let serving = async {
        tokio::select! {
            biased;
            outcome = &mut connection => outcome,
            () = must_end => {
                if !place.is_kept() {
                    return Ok(());
                }
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    let says_nothing = async {
        let mut has_asked = pin!(has_asked.notified());
        if tokio::time::timeout(TIME_TO_SPEAK, has_asked.as_mut()).await.is_err() {
            place.had_time();
            if tokio::time::timeout(FIRST_HEADER_TIMEOUT, has_asked).await.is_err() {
                return;
            }
        }
        std::future::pending::<()>().await;
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
