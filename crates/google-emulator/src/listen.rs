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
    // HTTP/2 windows wide enough for a line with a long round trip, as Google's are.
    builder.http2().initial_stream_window_size(4 << 20).initial_connection_window_size(16 << 20);
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
