//! Which instances of a study the store has (QIDO-RS, PS3.18 section 10.6).

use std::collections::HashSet;

use http::Method;

use super::{instance::Name, send::Way};
use crate::{
    content::Content,
    dicom_identity::Uid,
    exchange::{Ask, Attempts},
    refusal::Refusal,
    search::{self, PAGE},
};

/// No study has more instances than Google can be asked to pass over.
const MOST: usize = 1_000_000;

/// The SOP Instance UIDs of all instances of a study that the store has and that are wanted: a study may have very many.
///
/// # Errors
/// The search was refused, or answered with something else.
pub(super) async fn present(
    way: Way<'_>,
    study: &Uid,
    is_wanted: impl Fn(&Uid) -> bool,
) -> Result<HashSet<Uid>, Refusal> {
    let mut present = HashSet::new();
    let mut offset = 0;
    while offset < MOST {
        let page = search(way, format!("studies/{study}/instances?limit={PAGE}&offset={offset}")).await?;
        if page.is_empty() {
            break;
        }
        // A server may give less than a page before the end: only an empty one is the end.
        offset += page.len();
        // An instance with an odd UID is none of ours: that has a valid one.
        present.extend(page.into_iter().flatten().filter(&is_wanted));
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
    Ok(search(way, path).await?.iter().flatten().any(|found| found == instance))
}

/// The SOP Instance UID of each result; `None` where it is not valid.
async fn search(way: Way<'_>, path: String) -> Result<Vec<Option<Uid>>, Refusal> {
    let ask = Ask {
        method: Method::GET,
        path,
        headers: way.headers_accepting("application/dicom+json"),
        content: Content::Empty,
        patience: way.shared.settings.patience_of_requests,
    };
    let results = search::results(&mut Attempts::new(way.shared, way.store, &ask, None)).await?;
    Ok(results.iter().map(|result| search::uid(result, "00080018")).collect())
}
