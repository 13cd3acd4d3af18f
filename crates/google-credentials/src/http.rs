//! Requests and answers, and the clients that carry them.

mod client;
mod exchange;
mod kept_alive;
mod proxy;
mod request;
mod response;
mod settings;

pub(crate) use client::for_one_request;
pub(crate) use exchange::{Http, exchange};
pub use kept_alive::{HttpVersion, KeptAlive};
pub use proxy::{Proxies, Proxy, ProxyBefore, ProxyProblem};
pub use request::{Body, Field, Method, Request, Way, shown_url};
pub use response::Response;
pub use settings::{HttpSettings, PeerVerification, Verbosity};
