//! One instance by itself.

use google_credentials::{TransportError, TransportErrorKind};

use super::{
    Retrieval,
    incoming::{Broke, Incoming, incoming, part as of_part},
    ledger::Key,
    part::Part,
};
use crate::{
    exchange::{Answer, Attempts},
    multipart::Event,
    refusal::Refusal,
};

/// Fetches an instance and writes it, continuing what `part` has. Its number of bytes.
///
/// # Errors
/// It cannot be had.
pub(super) async fn fetch(retrieval: &Retrieval, key: &Key, mut part: Part<'_>) -> Result<u64, Refusal> {
    let path = format!("{}/series/{}/instances/{}", retrieval.study_path(), key.series, key.instance);
    let ask = retrieval.ask(path, retrieval.syntaxes.accept_single());
    let mut attempts = Attempts::new(&retrieval.shared, &retrieval.store, &ask, Some(&retrieval.transfer));
    loop {
        let before = part.furthest();
        let answer = attempts.next().await?;
        match read(retrieval, answer, &mut part).await {
            Ok(()) => {
                return part.end().await.map_err(Refusal::from);
            }
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
    match incoming(answer)? {
        Incoming::Single(mut single) => {
            retrieval.sizes.add(single.length);
            part.begin(single.content_type.clone(), single.length)?;
            while let Some(bytes) = single.next().await? {
                part.take(bytes).await?;
            }
        }
        Incoming::Parts(mut parts) => {
            let mut count = 0;
            loop {
                match parts.next().await? {
                    Event::Part(headers) => {
                        count += 1;
                        let (content_type, length) = of_part(&headers)?;
                        part.begin(content_type, length)?;
                    }
                    Event::Data(bytes) => part.take(bytes).await?,
                    Event::EndOfPart => {}
                    Event::End => break,
                }
            }
            if count != 1 {
                let cause = format!("one instance was asked for, and {count} came");
                return Err(Broke::nonsense(&cause, "report this"));
            }
        }
    }
    if part.is_empty() {
        let cause = "the answer is empty".to_owned();
        return Err(Broke::Off(TransportError { kind: TransportErrorKind::Interrupted, cause }));
    }
    Ok(())
}
