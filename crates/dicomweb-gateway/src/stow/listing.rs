//! Which instances of a study the store has (QIDO-RS, PS3.18 section 10.6).

use std::{collections::HashSet, sync::Arc};

use http::{HeaderMap, HeaderValue, Method, header};
use serde_json::Value;

use crate::{
    content::Content,
    dicom_identity::Uid,
    exchange::{Ask, Attempts},
    gateway::Shared,
    refusal::Refusal,
    store::Store,
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
pub(super) async fn present(shared: Arc<Shared>, store: Store, study: Uid) -> Result<HashSet<Uid>, Refusal> {
    let mut present = HashSet::new();
    let mut offset = 0;
    while offset < MOST {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/dicom+json"));
        let ask = Ask {
            method: Method::GET,
            path: format!("studies/{study}/instances?limit={PAGE}&offset={offset}"),
            headers,
            content: Content::Empty,
            patience: shared.settings.patience_of_requests,
        };
        let (_, _, body) = Attempts::new(&shared, &store, &ask, None).whole(LARGEST_PAGE).await?;
        let page = uids(&body).ok_or_else(|| {
            let cause = "a search for the instances of a study was answered with something else than a list";
            Refusal::own(http::StatusCode::BAD_GATEWAY, cause, "find out what answers in Google's place")
        })?;
        if page.is_empty() {
            break;
        }
        // A server may give less than a page before the end: only an empty one is the end.
        offset += page.len();
        present.extend(page);
    }
    Ok(present)
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
