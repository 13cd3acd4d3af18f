//! One instance by itself.

use google_credentials::{TransportError, TransportErrorKind};
use http::StatusCode;

use super::{
    Retrieval,
    incoming::{Broke, One},
    ledger::Key,
    part::Part,
};
use crate::{
    exchange::{Answer, Attempts},
    instance_format::Format,
    refusal::Refusal,
};

/// What to do about an instance that a search gives and the store does not.
const GONE: &str = "the store lists this instance and does not return it: retrieve the study again, a deletion may be under way";

/// Fetches an instance and writes it, continuing what `part` has. Its number of bytes.
///
/// # Errors
/// It cannot be had.
pub(super) async fn fetch(retrieval: &Retrieval, key: &Key, part: Part<'_>) -> Result<u64, Refusal> {
    fetch_at(retrieval, format!("series/{}/instances/{}", key.series, key.instance), part).await
}

/// The same by its path below the study.
pub(super) async fn fetch_at(
    retrieval: &Retrieval,
    path: String,
    mut part: Part<'_>,
) -> Result<u64, Refusal> {
    let path = format!("{}/{path}", retrieval.study_path());
    let mut format = retrieval.shared.instance_formats.of(&retrieval.store);
    loop {
        match fetch_as(retrieval, path.clone(), format, &mut part).await {
            Ok(()) => return part.end().await.map_err(Refusal::from),
            // It was listed, so that store and study exist.
            Err(refusal) if refusal.status() == StatusCode::NOT_FOUND => {
                return Err(refusal.with_remedy(GONE));
            }
            Err(refusal) => format = format.after(&refusal).ok_or(refusal)?,
        }
    }
}

async fn fetch_as(
    retrieval: &Retrieval,
    path: String,
    format: Format,
    part: &mut Part<'_>,
) -> Result<(), Refusal> {
    let ask = retrieval.ask(path, format.accept(&retrieval.syntaxes));
    let mut attempts = Attempts::new(&retrieval.shared, &retrieval.store, &ask, Some(&retrieval.transfer));
    loop {
        let before = part.furthest();
        let answer = attempts.next().await?;
        retrieval.shared.instance_formats.worked(&retrieval.store, format);
        match read(retrieval, answer, part).await {
            Ok(()) => return Ok(()),
            Err(Broke::Off(error)) => {
                if part.furthest() > before {
                    attempts.progressed();
                }
                attempts.broke(&error).await?;
            }
            Err(Broke::Nonsense(refusal)) => return Err(*refusal),
        }
    }
}

/// Reads an answer to its end.
async fn read(retrieval: &Retrieval, answer: Answer, part: &mut Part<'_>) -> Result<(), Broke> {
    let mut one = One::begin(answer).await?;
    retrieval.sizes.add(one.length);
    part.begin(one.content_type.clone(), one.length)?;
    while let Some(bytes) = one.next().await? {
        part.take(bytes).await?;
    }
    if part.is_empty() {
        let cause = "the answer is empty".to_owned();
        return Err(Broke::Off(TransportError { kind: TransportErrorKind::Interrupted, cause }));
    }
    Ok(())
}
