//! Many instances in one answer: a whole series, or whatever is not listed.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::{
    Retrieval,
    incoming::{Broke, Incoming, Parts, incoming, part as of_part},
    instance,
    ledger::Key,
    part::Part,
};
use crate::{
    dicom_identity::{Progress, Reader, Uid},
    exchange::{Answer, Attempts},
    multipart::Event,
    refusal::Refusal,
};

/// The UIDs of real instances are in the first 2 kB. If they are not in so many bytes, the instance is left for a request of
/// its own.
const BEGINNING: usize = 64 << 10;

/// Fetches a series and writes the instances that nobody else has. Ends well even if the answer breaks off: what it has not
/// brought is waiting then.
///
/// An instance that came after the search, or before it but too late for the search's index, is in the stream and not in the
/// list: it is passed on, and counts as listed from then on.
///
/// # Errors
/// Google's refusal, or what kept it from answering; an instance that was passed on in part cannot be had to its end.
pub(super) async fn series(retrieval: &Retrieval, series: &Uid) -> Result<(), Refusal> {
    let path = format!("{}/series/{series}", retrieval.study_path());
    let ask = retrieval.ask(path, retrieval.syntaxes.accept_multipart());
    let mut attempts = Attempts::new(&retrieval.shared, &retrieval.store, &ask, Some(&retrieval.transfer));
    let answer = attempts.next().await?;
    match read(retrieval, answer, Some(series)).await {
        Ok(_) => Ok(()),
        Err(Broke::Off(error)) => {
            tracing::info!(
                "{}: the stream of series {series} broke off; the rest of it is asked for one by one: {error}",
                retrieval.store.title()
            );
            retrieval.count_retry(&error.to_string());
            Ok(())
        }
        Err(Broke::Nonsense(refusal)) => Err(*refusal),
    }
}

/// Fetches and writes what no search has found: nothing, most probably, so that Google's refusal is the answer. Otherwise the
/// search was behind, and the stream is all there is to know: it must come to its end.
///
/// # Errors
/// As [`series`], and that the stream does not come to its end.
pub(super) async fn unlisted(retrieval: &Retrieval) -> Result<(), Refusal> {
    let ask = retrieval.ask(retrieval.path(), retrieval.syntaxes.accept_multipart());
    let mut attempts = Attempts::new(&retrieval.shared, &retrieval.store, &ask, Some(&retrieval.transfer));
    loop {
        let answer = attempts.next().await.map_err(|refusal| missing(retrieval, refusal))?;
        let written = retrieval.ledger().written();
        match read(retrieval, answer, retrieval.series()).await {
            Ok(0) => return Ok(()),
            Ok(unknown) => {
                let cause = format!("{unknown} instances have no UIDs that could be read");
                return Err(Refusal::own(StatusCode::BAD_GATEWAY, &cause, "retrieve them one by one"));
            }
            Err(Broke::Off(error)) => {
                if retrieval.ledger().written() > written {
                    attempts.progressed();
                }
                attempts.broke(&error).await?;
            }
            Err(Broke::Nonsense(refusal)) => return Err(*refusal),
        }
    }
}

/// The store has answered a search, so that it exists: whatever its words, it is the study or series that does not.
fn missing(retrieval: &Retrieval, refusal: Refusal) -> Refusal {
    if refusal.status() != StatusCode::NOT_FOUND {
        return refusal;
    }
    let what = if retrieval.series().is_some() { "series" } else { "study" };
    refusal.with_remedy(&format!(
        "the store has no such {what}: check the UID, whether it was deleted, and whether it is in another store"
    ))
}

/// Reads an answer to its end, and writes what nobody else has. How many parts could not be recognised.
async fn read(retrieval: &Retrieval, answer: Answer, series: Option<&Uid>) -> Result<usize, Broke> {
    let mut parts = match incoming(answer)? {
        Incoming::Parts(parts) => parts,
        Incoming::Single(_) => {
            let cause = "several instances were asked for, and one came";
            return Err(Broke::nonsense(cause, "report this"));
        }
    };
    let mut unknown = 0;
    loop {
        match parts.next().await? {
            Event::Part(headers) => match recognise(&mut parts, series).await? {
                Recognised { key: Some(key), beginning, is_all } if retrieval.ledger().claim(&key) => {
                    write(retrieval, &mut parts, &key, &headers, beginning, is_all).await?;
                }
                // Others have been faster, and may have taken all that is left.
                Recognised { key: Some(key), .. } if retrieval.ledger().has_nothing_left(&key.series) => {
                    return Ok(unknown);
                }
                Recognised { key: Some(_), .. } => {}
                Recognised { key: None, .. } => unknown += 1,
            },
            // The rest of what is not wanted.
            Event::Data(_) | Event::EndOfPart => {}
            Event::End => return Ok(unknown),
        }
    }
}

/// A part as far as it was read to know which instance it is.
struct Recognised {
    key: Option<Key>,
    beginning: Vec<Bytes>,
    is_all: bool,
}

async fn recognise(parts: &mut Parts, series: Option<&Uid>) -> Result<Recognised, Broke> {
    let mut reader = Reader::new();
    let (mut beginning, mut read, mut is_all) = (Vec::new(), 0, false);
    while reader.progress() == Progress::Reading && read < BEGINNING {
        let Event::Data(bytes) = parts.next().await? else {
            is_all = true;
            break;
        };
        reader.feed(&bytes);
        read += bytes.len();
        beginning.push(bytes);
    }
    let identity = reader.into_identity();
    let series = series.cloned().or(identity.series_instance_uid);
    let key = identity.sop_instance_uid.zip(series).map(|(instance, series)| Key { series, instance });
    Ok(Recognised { key, beginning, is_all })
}

/// Writes a part that was claimed; where it breaks off after something of it was passed on, by a request of its own.
async fn write(
    retrieval: &Retrieval,
    parts: &mut Parts,
    key: &Key,
    headers: &HeaderMap,
    beginning: Vec<Bytes>,
    is_all: bool,
) -> Result<(), Broke> {
    let mut part = Part::new(retrieval);
    match copy(&mut part, parts, headers, beginning, is_all).await {
        Ok(()) => {
            let bytes = part.end().await?;
            retrieval.sizes.add(Some(bytes));
            retrieval.wrote(key, bytes);
            Ok(())
        }
        Err(Broke::Off(error)) if part.is_open() => {
            retrieval.count_retry(&error.to_string());
            let fetched = instance::fetch(retrieval, key, part).await;
            let bytes = fetched.map_err(|refusal| Broke::Nonsense(Box::new(refusal)))?;
            retrieval.wrote(key, bytes);
            Err(Broke::Off(error))
        }
        Err(broke) => {
            retrieval.ledger().release(key);
            Err(broke)
        }
    }
}

async fn copy(
    part: &mut Part<'_>,
    parts: &mut Parts,
    headers: &HeaderMap,
    beginning: Vec<Bytes>,
    is_all: bool,
) -> Result<(), Broke> {
    let (content_type, length) = of_part(headers)?;
    part.begin(content_type, length)?;
    for bytes in beginning {
        part.take(bytes).await?;
    }
    if is_all {
        return Ok(());
    }
    while let Event::Data(bytes) = parts.next().await? {
        part.take(bytes).await?;
    }
    Ok(())
}
