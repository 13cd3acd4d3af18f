//! What comes from outside, in any state: a function for each, which takes arbitrary bytes and panics where a promise is
//! broken. `fuzz/` feeds them from libFuzzer, the tests below from bodies and files that were damaged at random.
//!
//! The promises: no panic; the chunks in which something comes make no difference; what is held is bounded; the cutter finds
//! what a slow search over the whole body finds; a UID can stand in a path.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};

use crate::{
    accept,
    dicom_identity::{Identity, Progress, Reader, Uid},
    multipart::{Cutter, Event, Malformed, boundary_of, oracle},
};

/// The boundary of all bodies: short, so that accidents happen.
pub const BOUNDARY: &[u8] = b"Bo";
/// The most that the cutter may hold back, in bytes: a header and the piece it grows by.
const MOST_HELD: usize = 16 * 1024 + 512;

/// A multipart body; the first byte chooses the chunks.
pub fn multipart(data: &[u8]) {
    let Some((chunks, body)) = data.split_first() else { return };
    let (parts, outcome) = cut([Bytes::copy_from_slice(body)]);
    let (expected, whole) = oracle::parts(body, BOUNDARY);
    assert_eq!(outcome.is_ok(), whole, "{outcome:?}");
    assert!(parts == expected, "other parts than the slow search finds");
    assert_eq!((parts, outcome), cut(chunked(body, *chunks).map(Bytes::copy_from_slice)));
}

/// The value of a `Content-Type` or `Accept` field.
pub fn media_type(data: &[u8]) {
    if let Some(related) = std::str::from_utf8(data).ok().and_then(|text| boundary_of(text).ok()) {
        assert!(!related.boundary.is_empty());
        assert!(!related.boundary.bytes().any(|byte| byte.is_ascii_control()));
    }
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    let headers = HeaderMap::from_iter([(header::ACCEPT, value)]);
    let _format = accept::stow_answer_format(&headers);
    if let accept::Retrieval::Instances(syntaxes) = accept::retrieval(&headers) {
        assert!(syntaxes.iter().count() > 0);
        let again = HeaderMap::from_iter([(header::ACCEPT, syntaxes.accept_multipart())]);
        assert_eq!(accept::retrieval(&again), accept::Retrieval::Instances(syntaxes), "read otherwise again");
    }
}

/// A DICOM file; the first byte chooses the chunks.
pub fn dicom_identity(data: &[u8]) {
    let Some((chunks, file)) = data.split_first() else { return };
    let whole = read([file]);
    assert_eq!(whole, read(chunked(file, *chunks)));
    let Identity {
        sop_class_uid,
        sop_instance_uid,
        study_instance_uid,
        series_instance_uid,
        transfer_syntax_uid,
    } = whole.1;
    let found =
        [sop_class_uid, sop_instance_uid, study_instance_uid, series_instance_uid, transfer_syntax_uid];
    for uid in found.iter().flatten().map(Uid::as_str) {
        assert!((1..=64).contains(&uid.len()) && uid.split('.').all(|part| !part.is_empty()), "{uid}");
        assert!(uid.bytes().all(|byte| byte == b'.' || byte.is_ascii_digit()), "{uid}");
    }
}

/// Chunks of up to `longest` bytes, each of another length than the one before.
fn chunked(bytes: &[u8], longest: u8) -> impl Iterator<Item = &[u8]> {
    let longest = usize::from(longest).max(1);
    let (mut rest, mut turn) = (bytes, 0);
    std::iter::from_fn(move || {
        turn += 1;
        let (chunk, behind) = rest.split_at(rest.len().min(1 + turn * 7 % longest));
        rest = behind;
        (!chunk.is_empty()).then_some(chunk)
    })
}

/// The parts that are complete, and what is wrong.
fn cut(chunks: impl IntoIterator<Item = Bytes>) -> (Vec<oracle::Part>, Result<(), Malformed>) {
    let mut cutter = Cutter::new(BOUNDARY);
    let (mut parts, mut open) = (Vec::new(), None);
    for chunk in chunks {
        cutter.feed(chunk);
        loop {
            match cutter.next() {
                Ok(Some(Event::Part(fields))) => {
                    let begun = open.replace((oracle::fields(&fields), Vec::new()));
                    assert!(begun.is_none(), "a part in a part");
                }
                Ok(Some(Event::Data(data))) => {
                    assert!(!data.is_empty(), "no data");
                    open.as_mut().map(|(_, part)| part.extend_from_slice(&data)).unwrap_or_default();
                }
                Ok(Some(Event::EndOfPart)) => parts.extend(open.take()),
                Ok(Some(Event::End)) => assert!(open.is_none(), "the last part does not end"),
                Ok(None) => break,
                Err(malformed) => {
                    assert_eq!(cutter.finish(), Err(malformed));
                    return (parts, Err(malformed));
                }
            }
        }
        assert!(cutter.held() <= MOST_HELD, "{} bytes are held", cutter.held());
    }
    let outcome = cutter.finish();
    (parts, outcome)
}

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Progress, Identity) {
    let mut reader = Reader::new();
    for piece in pieces {
        let _progress = reader.feed(piece);
    }
    (reader.progress(), reader.into_identity())
}

#[cfg(test)]
mod tests;
