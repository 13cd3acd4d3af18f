//! How much goes on at once: requests, connections, TLS handshakes.

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use serde::Serialize;
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

/// What [`Emulator::gauges`](crate::Emulator::gauges) reads, on all ports together. Control requests do not count as requests,
/// their connections do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Gauges {
    /// Requests whose head has arrived.
    pub requests: u64,
    /// Of these, those whose answer is not yet wholly given to the connection, nor given up.
    pub requests_now: u64,
    /// The most that [`Gauges::requests_now`] has been.
    pub most_requests_at_once: u64,
    /// TCP connections accepted.
    pub connections: u64,
    /// Of these, those still open.
    pub connections_now: u64,
    /// The most that [`Gauges::connections_now`] has been.
    pub most_connections_at_once: u64,
    /// TLS handshakes completed.
    pub tls_handshakes: u64,
}

/// The counters behind [`Gauges`].
#[derive(Default)]
pub(crate) struct Meters {
    pub(crate) requests: Arc<Meter>,
    pub(crate) connections: Arc<Meter>,
    tls_handshakes: AtomicU64,
}

impl Meters {
    pub(crate) fn note_handshake(&self) {
        self.tls_handshakes.fetch_add(1, Relaxed);
    }

    pub(crate) fn read(&self) -> Gauges {
        let (requests, connections) = (&self.requests, &self.connections);
        Gauges {
            requests: requests.total.load(Relaxed),
            requests_now: requests.now.load(Relaxed),
            most_requests_at_once: requests.most.load(Relaxed),
            connections: connections.total.load(Relaxed),
            connections_now: connections.now.load(Relaxed),
            most_connections_at_once: connections.most.load(Relaxed),
            tls_handshakes: self.tls_handshakes.load(Relaxed),
        }
    }

    /// Begins anew: totals at 0, the most at what there is now.
    pub(crate) fn reset(&self) {
        for meter in [&self.requests, &self.connections] {
            meter.total.store(0, Relaxed);
            meter.most.store(meter.now.load(Relaxed), Relaxed);
        }
        self.tls_handshakes.store(0, Relaxed);
    }
}

/// Counts what begins and ends.
#[derive(Default)]
pub(crate) struct Meter {
    total: AtomicU64,
    now: AtomicU64,
    most: AtomicU64,
}

impl Meter {
    /// One more, until what is given back is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> Entered {
        self.total.fetch_add(1, Relaxed);
        let now = self.now.fetch_add(1, Relaxed) + 1;
        self.most.fetch_max(now, Relaxed);
        Entered { meter: Arc::clone(self) }
    }
}

/// One of those that a [`Meter`] counts as being there now.
pub(crate) struct Entered {
    meter: Arc<Meter>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.meter.now.fetch_sub(1, Relaxed);
    }
}

/// A body whose request goes on until it is sent or dropped.
pub(crate) struct MeteredBody {
    body: Body,
    _entered: Entered,
}

impl MeteredBody {
    pub(crate) fn new(body: Body, entered: Entered) -> Self {
        Self { body, _entered: entered }
    }
}

impl HttpBody for MeteredBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
