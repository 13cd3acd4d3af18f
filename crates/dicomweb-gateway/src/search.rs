//! Searches in the store (QIDO-RS, PS3.18 section 10.6), whose results are data sets in the DICOM JSON Model (annex F).

use http::StatusCode;
use serde_json::Value;

use crate::{dicom_identity::Uid, exchange::Attempts, refusal::Refusal};

/// Instances asked for at once: Google's default. Its largest, 50,000, would be a document of 75 MB.
pub(crate) const PAGE: usize = 1000;
/// The largest document that is read, in bytes: a page with 16 kB for each instance.
const LARGEST: usize = 16 << 20;

/// The results of a search that is about to be sent. A server may give less than it is asked for, and Google does not say
/// when there are no more: only a page with none is the end.
///
/// # Errors
/// Google's refusal, or what kept it from answering; an answer that is no list.
pub(crate) async fn results(attempts: &mut Attempts<'_>) -> Result<Vec<Value>, Refusal> {
    let (_, _, body) = attempts.whole(LARGEST).await?;
    read(&body).ok_or_else(no_list)
}

/// The answer is something else than results.
pub(crate) fn no_list() -> Refusal {
    let cause = "a search was answered with something else than a list of what was searched for";
    Refusal::own(StatusCode::BAD_GATEWAY, cause, "see what answers at the account's address")
}

/// Reads an array of data sets; without content (204) it is an empty one.
pub(crate) fn read(body: &[u8]) -> Option<Vec<Value>> {
    if body.is_empty() { Some(Vec::new()) } else { serde_json::from_slice(body).ok() }
}

/// The first value of an attribute.
pub(crate) fn first<'a>(result: &'a Value, tag: &str) -> Option<&'a Value> {
    result.get(tag)?.get("Value")?.get(0)
}

/// The UID that an attribute has.
pub(crate) fn uid(result: &Value, tag: &str) -> Option<Uid> {
    Uid::parse(first(result, tag)?.as_str()?.as_bytes())
}
