//! How many requests are under way to one server at once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

/// A request with its TLS handshake takes some 50 kB while it lasts, which the allocator then keeps: a hundred accounts
/// that start together would cost Orthanc 5 MB for ever. More at once would not be faster, since the time goes into
/// cryptography.
const AT_ONCE: usize = 8;

/// One gate a server, so that one which hangs holds up nobody but those who ask it.
#[derive(Default)]
pub(crate) struct Gates {
    servers: Mutex<BTreeMap<String, Arc<Semaphore>>>,
}

impl Gates {
    /// Waits for its turn at the server of `url`, in the order of arrival. The turn ends when what is given is dropped.
    pub(crate) async fn enter(&self, url: &str) -> Option<OwnedSemaphorePermit> {
        let server = Url::parse(url).map(|url| url.origin().ascii_serialization()).unwrap_or_default();
        let gate = {
            let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(servers.entry(server).or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE))))
        };
        // It is never closed, so there always is one.
        gate.acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn a_server_that_hangs_holds_up_its_own_requests_alone() {
        let gates = Gates::default();
        let enter = |url: &str| match Box::pin(gates.enter(url))
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(turn) => turn,
            Poll::Pending => None,
        };
        let mut turns: Vec<_> =
            (0..AT_ONCE).map(|account| enter(&format!("https://hangs/{account}"))).collect();
        assert!(turns.iter().all(Option::is_some));
        assert!(enter("https://hangs/one-more").is_none());
        assert!(enter("https://works/token").is_some());
        assert!(enter("https://hangs:444/token").is_some());
        turns.pop();
        assert!(enter("https://hangs/one-more").is_some());
    }
}
