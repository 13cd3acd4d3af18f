//! Accepting connections, with and without TLS.

use crate::{
    record::{Connection, Host},
    serve,
    world::World,
};
use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Requests at once on one HTTP/2 connection, as Google's servers announce.
const MOST_STREAMS: u32 = 100;

/// How many bytes of bodies a client may send over HTTP/2 before the emulator has taken them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Http2Windows {
    /// For one request.
    pub(crate) stream: u32,
    /// For all requests of a connection together.
    pub(crate) connection: u32,
}

impl Default for Http2Windows {
    /// What Google's servers announce when a connection begins: 1 MiB for both (golang/go#16612 shows the frames). So a single
    /// connection uploads at most 1 MiB a round trip, 25 MB/s at 40 ms. Whether Google widens them later is not known.
    fn default() -> Self {
        Self { stream: 1 << 20, connection: 1 << 20 }
    }
}

/// Accepts for as long as the runtime lives.
pub(crate) async fn accept(
    listener: TcpListener,
    host: Host,
    tls: Option<TlsAcceptor>,
    world: Arc<World>,
    connections: Arc<AtomicU64>,
) {
    let routes = match host {
        Host::Apis => serve::routes(&world),
        Host::Metadata => serve::metadata_routes(&world),
    };
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely: give others time to close theirs.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let connection =
            Connection { number: connections.fetch_add(1, Ordering::Relaxed) + 1, tls: tls.is_some(), host };
        let (world, routes, tls) = (Arc::clone(&world), routes.clone(), tls.clone());
        let entered = world.meters.connections.enter();
        tokio::spawn(async move {
            let _open = entered;
            if world.faults.strike_connection(host) {
                let _held: TcpStream = stream;
                return std::future::pending().await;
            }
            // Whatever ends a connection is the client's to notice.
            drop(converse(stream, tls, world, routes, connection).await);
        });
    }
}

async fn converse(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    world: Arc<World>,
    routes: Router,
    connection: Connection,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let shared = Arc::clone(&world);
    let service = hyper::service::service_fn(move |request| {
        serve::serve(Arc::clone(&world), routes.clone(), connection, request)
    });
    let mut builder = Builder::new(TokioExecutor::new());
    let Http2Windows { stream: of_stream, connection: of_connection } = shared.http2_windows;
    builder
        .http2()
        .initial_stream_window_size(of_stream)
        .initial_connection_window_size(of_connection)
        .max_concurrent_streams(MOST_STREAMS);
    match tls {
        None => builder.serve_connection(TokioIo::new(stream), service).await,
        Some(acceptor) => {
            let stream = acceptor.accept(stream).await?;
            shared.meters.note_handshake();
            builder.serve_connection(TokioIo::new(stream), service).await
        }
    }
    .map_err(io::Error::other)
}
