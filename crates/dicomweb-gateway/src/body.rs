//! Bodies and header fields of the answers to whoever asked the gateway.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, header};
use http_body_util::{BodyExt as _, Empty, Full, combinators::UnsyncBoxBody};

/// A body given to the client. An error breaks the connection off, so that nobody takes a part for the whole.
pub(crate) type ResponseBody = UnsyncBoxBody<Bytes, Broken>;

/// A body that could not be had to its end.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Broken(pub(crate) String);

pub(crate) fn empty() -> ResponseBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

pub(crate) fn whole(bytes: impl Into<Bytes>) -> ResponseBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Copies the fields that are meant for the other end and not for a connection on the way (RFC 9110 section 7.6.1).
pub(crate) fn copy_end_to_end(from: &HeaderMap, to: &mut HeaderMap) {
    let named = from.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named: Vec<String> =
        named.flat_map(|value| value.split(',')).map(|name| name.trim().to_ascii_lowercase()).collect();
    for (name, value) in from {
        if !is_of_connection(name) && !named.iter().any(|named| named == name.as_str()) {
            to.append(name.clone(), value.clone());
        }
    }
}

/// Copies what a store has answered, without what it says about its own address: who may read it there, and what a browser
/// is to remember of it.
pub(crate) fn copy_answer(from: &HeaderMap, to: &mut HeaderMap) {
    copy_end_to_end(from, to);
    let is_of_address = |name: &HeaderName| {
        name.as_str().starts_with("access-control-")
            || [header::ALT_SVC, header::SET_COOKIE, header::STRICT_TRANSPORT_SECURITY].contains(name)
    };
    for name in from.keys().filter(|name| is_of_address(name)) {
        to.remove(name);
    }
}

/// Whether a field is about one connection.
fn is_of_connection(name: &HeaderName) -> bool {
    [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
    .contains(&name.as_str())
}
