//! Which instances of a study the store has (QIDO-RS, PS3.18 section 10.6).

use std::collections::HashSet;

use http::{Method, StatusCode};
use serde_json::Value;

use super::{instance::Name, send::Way};
use crate::{
    content::Content,
    dicom_identity::Uid,
    exchange::{Ask, Attempts},
    refusal::Refusal,
};

/// Results of a page: Google's default for instances.
const PAGE: usize = 1000;
/// What is read of a page: results have about a kilobyte.
const LARGEST_PAGE: usize = 16 << 20;
/// No study has more instances than Google can be asked to pass over.
const MOST: usize = 1_000_000;

/// The SOP Instance UIDs of all instances of a study that the store has.
///
/// # Errors
/// The search was refused, or answered with something else.
pub(super) async fn present(way: Way<'_>, study: &Uid) -> Result<HashSet<Uid>, Refusal> {
    let mut present = HashSet::new();
    let mut offset = 0;
    while offset < MOST {
        let page = search(way, format!("studies/{study}/instances?limit={PAGE}&offset={offset}")).await?;
        if page.is_empty() {
            break;
        }
        // A server may give less than a page before the end: only an empty one is the end.
        offset += page.len();
        present.extend(page);
    }
    Ok(present)
}

/// Whether the store has an instance with these UIDs.
///
/// # Errors
/// As [`present`].
pub(super) async fn has(way: Way<'_>, name: &Name) -> Result<bool, Refusal> {
    let Name { instance, study, series, .. } = name;
    let path = format!("studies/{study}/series/{series}/instances?SOPInstanceUID={instance}&limit=1");
    Ok(search(way, path).await?.contains(instance))
}

async fn search(way: Way<'_>, path: String) -> Result<Vec<Uid>, Refusal> {
    let ask = Ask {
        method: Method::GET,
        path,
        headers: way.headers_accepting("application/dicom+json"),
        content: Content::Empty,
        patience: way.shared.settings.patience_of_requests,
    };
    let (_, _, body) = Attempts::new(way.shared, way.store, &ask, None).whole(LARGEST_PAGE).await?;
    uids(&body).ok_or_else(|| {
        let cause = "a search for instances was answered with something else than a list";
        Refusal::own(StatusCode::BAD_GATEWAY, cause, "find out what answers in Google's place")
    })
}

/// The SOP Instance UIDs of a page; without content (204) it is an empty one.
fn uids(body: &[u8]) -> Option<Vec<Uid>> {
    if body.is_empty() {
        return Some(Vec::new());
    }
    let page: Value = serde_json::from_slice(body).ok()?;
    let uid = |result: &Value| {
        let uid = result.get("00080018")?.get("Value")?.get(0)?.as_str()?;
        Uid::parse(uid.as_bytes())
    };
    page.as_array()?.iter().map(uid).collect()
}
