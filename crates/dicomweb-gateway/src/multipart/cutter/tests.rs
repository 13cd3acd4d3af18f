use proptest::{collection::vec, prelude::*};

use super::*;
use crate::multipart::{Writer, oracle};

type Parts = Vec<oracle::Part>;

/// The parts that are complete, as they come from these chunks.
fn cut(boundary: &[u8], chunks: impl IntoIterator<Item = Bytes>) -> (Parts, Result<(), Malformed>) {
    let mut cutter = Cutter::new(boundary);
    let (mut parts, mut open) = (Parts::new(), None);
    for chunk in chunks {
        cutter.feed(chunk);
        loop {
            match cutter.next() {
                Ok(Some(Event::Part(fields))) => open = Some((oracle::fields(&fields), Vec::new())),
                Ok(Some(Event::Data(data))) => open.as_mut().unwrap().1.extend_from_slice(&data),
                Ok(Some(Event::EndOfPart)) => parts.push(open.take().unwrap()),
                Ok(Some(Event::End)) => assert!(open.is_none()),
                Ok(None) => break,
                Err(malformed) => return (parts, Err(malformed)),
            }
        }
    }
    (parts, cutter.finish())
}

fn chunks(body: &[u8], size: usize) -> impl Iterator<Item = Bytes> {
    body.chunks(size).map(Bytes::copy_from_slice)
}

/// The data of the parts, whatever the chunks.
fn check(body: &[u8], expected: &[&[u8]], outcome: Result<(), Malformed>) {
    for size in 1..=body.len().max(1) {
        let (parts, seen) = cut(b"B", chunks(body, size));
        let data: Vec<&[u8]> = parts.iter().map(|(_, data)| data.as_slice()).collect();
        assert_eq!(
            (data.as_slice(), seen),
            (expected, outcome),
            "{:?} by {size}",
            body.escape_ascii().to_string()
        );
    }
    assert_eq!(oracle::parts(body, b"B").1, outcome.is_ok());
}

#[test]
fn what_orthanc_sends_is_cut() {
    let head = "--B\r\nContent-Type: application/dicom\r\nContent-Length: 5\r\n\r\n";
    let body = format!("{head}first\r\n{head}other\r\n--B--");
    check(body.as_bytes(), &[b"first", b"other"], Ok(()));
    let (parts, _) = cut(b"B", chunks(body.as_bytes(), 9));
    let fields = [("content-length", "5"), ("content-type", "application/dicom")];
    assert_eq!(parts[0].0, fields.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())));
    // Nothing left to send, as the DICOMweb plugin's resubmitted jobs have it.
    check(b"--B--", &[], Ok(()));
}

#[test]
fn what_looks_like_a_delimiter_is_data() {
    let data = b"--B--\n--B\r\n--Bx\r\n--BB\r\n--B \tx\r\n--B\r\r\n--A\r\n\r\n-\r--B\r\n--";
    let body = [b"--B\r\n\r\nx", &data[..], b"\r\n--B\r\n\r\n\r\r\n--B--"].concat();
    // "\n--B" counts only with a carriage return before it; "--B\r\n" only at the beginning of a line.
    let expected = [&b"x"[..], data].concat();
    check(&body, &[&expected, b"\r"], Ok(()));
}

#[test]
fn parts_may_be_empty_and_have_no_header() {
    check(b"--B\r\n\r\n\r\n--B--", &[b""], Ok(()));
    check(b"--B\r\nA: b\r\n\r\n--B\r\n\r\n--B--", &[b"", b""], Ok(()));
}

#[test]
fn preamble_padding_and_epilogue_are_ignored() {
    let body = b"pre --B\r\n--Bx\r\n-\r\n\r\n--B \t \r\n\r\none\r\n--B\t\r\n\r\ntwo\r\n--B--\t\r\n--B\r\n\r\nepilogue\r\n--B--";
    check(body, &[b"one", b"two"], Ok(()));
    check(b"\r\n--B\r\n\r\none\r\n--B--\r\n", &[b"one"], Ok(()));
}

#[test]
fn bare_line_feeds_are_line_ends_where_the_first_delimiter_has_one() {
    check(b"--B\nA: b\n\none\r\n--B\n\ntwo\n--B--", &[b"one\r", b"two"], Ok(()));
    check(b"--B\r\nA: b\n\none\n--B\r\n\r\n--B\n\ntwo\r\n--B--", &[b"one\n--B\r\n", b"two"], Ok(()));
}

#[test]
fn a_header_may_be_folded_and_repeat_a_field() {
    let body =
        b"--B\r\nContent-Type:application/dicom;\r\n\t transfer-syntax=*\r\nA : 1 \r\na: 2\r\n\r\n\r\n--B--";
    let fields = [("a", "1"), ("a", "2"), ("content-type", "application/dicom; transfer-syntax=*")];
    for size in 1..body.len() {
        let (parts, _) = cut(b"B", chunks(body, size));
        assert_eq!(parts[0].0, fields.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())));
    }
}

#[test]
fn padding_is_held_back_up_to_a_bound() {
    for (padding, delimits) in [(LONGEST_PADDING, true), (LONGEST_PADDING + 1, false)] {
        let inner = [b"\r\n--B", &b" ".repeat(padding)[..], b"\r\n"].concat();
        let body = [b"--B\r\n\r\none", &inner[..], b"\r\n--B--"].concat();
        let data = [b"one", &inner[..]].concat();
        if delimits {
            check(&body, &[b"one", b""], Ok(()));
        } else {
            check(&body, &[&data], Ok(()));
        }
    }
    let mut cutter = Cutter::new(b"B");
    for chunk in chunks(&[b"--B\r\n\r\none\r\n--B", &b" ".repeat(100_000)[..]].concat(), 100) {
        cutter.feed(chunk);
        while cutter.next().unwrap().is_some() {}
        assert!(cutter.held() <= LONGEST_PADDING + b"\r\n--B".len());
    }
}

#[test]
fn what_is_malformed_is_told() {
    check(b"", &[], Err(Malformed::Truncated));
    check(b"no delimiter", &[], Err(Malformed::Truncated));
    check(b"--B\r\n\r\ndata", &[], Err(Malformed::Truncated));
    check(b"--B\r\n\r\ndata\r\n--B", &[], Err(Malformed::Truncated));
    check(b"--B\r\n\r\none\r\n--B\r\n\r\ntwo\r\n--B-", &[b"one"], Err(Malformed::Truncated));
    check(b"--B\r\nno colon\r\n\r\ndata\r\n--B--", &[], Err(Malformed::HeaderField));
    check(b"--B\r\n folded: first\r\n\r\ndata\r\n--B--", &[], Err(Malformed::HeaderField));
    check(b"--B\r\nnot a name: x\r\n\r\ndata\r\n--B--", &[], Err(Malformed::HeaderField));
    check(b"--B\r\n--B--\r\n\r\n", &[], Err(Malformed::HeaderField));
}

#[test]
fn what_is_too_long_is_refused_whatever_the_chunks() {
    let preamble = [&b"x\r\n".repeat(LONGEST_PREAMBLE)[..], b"--B--"].concat();
    let line = b"x".repeat(LONGEST_PREAMBLE + 1);
    let header = [&b"--B\r\nA: "[..], &b"b".repeat(LONGEST_HEADER), b"\r\n\r\n\r\n--B--"].concat();
    let fields = [&b"--B\r\n"[..], &b"A: b\r\n".repeat(65), b"\r\n\r\n--B--"].concat();
    let endless = [&b"--B\r\nA: "[..], &b"b".repeat(LONGEST_HEADER)].concat();
    for (body, expected) in [
        (preamble, Malformed::NoDelimiter),
        (line, Malformed::NoDelimiter),
        (header, Malformed::HeaderTooLong),
        (fields, Malformed::HeaderTooLong),
        (endless, Malformed::HeaderTooLong),
    ] {
        for size in [1, 1000, body.len()] {
            assert_eq!(cut(b"B", chunks(&body, size)), (vec![], Err(expected)), "by {size}");
        }
        assert!(!oracle::parts(&body, b"B").1);
    }
    // As long as allowed.
    let header = [&b"--B\r\nA: "[..], &b"b".repeat(LONGEST_HEADER - 7), b"\r\n\r\n\r\n--B--"].concat();
    let fields = [&b"--B\r\n"[..], &b"A: b\r\n".repeat(64), b"\r\n\r\n--B--"].concat();
    for body in [header, fields] {
        for size in [1, 1000, body.len()] {
            assert_eq!(cut(b"B", chunks(&body, size)).1, Ok(()), "by {size}");
        }
    }
}

#[test]
fn an_error_stays_and_holds_nothing() {
    let mut cutter = Cutter::new(b"B");
    cutter.feed(Bytes::from_static(b"--B\r\nno colon\r\nx\r\n"));
    assert_eq!(cutter.next(), Err(Malformed::HeaderField));
    cutter.feed(Bytes::from_static(b"--B--"));
    assert_eq!(cutter.next(), Err(Malformed::HeaderField));
    assert_eq!((cutter.finish(), cutter.held()), (Err(Malformed::HeaderField), 0));
}

#[test]
fn data_is_passed_on_at_once_and_not_copied() {
    let mut cutter = Cutter::new(b"B");
    cutter.feed(Bytes::from_static(b"--B\r\n\r\n"));
    assert_eq!(cutter.next(), Ok(Some(Event::Part(HeaderMap::new()))));
    assert_eq!(cutter.next(), Ok(None));
    let chunk = Bytes::from(vec![7; 100_000]);
    cutter.feed(chunk.clone());
    let Ok(Some(Event::Data(data))) = cutter.next() else { panic!("held back") };
    assert_eq!((data.as_ptr(), data.len()), (chunk.as_ptr(), chunk.len()));
    // Only what may be the beginning of a delimiter is held back.
    cutter.feed(Bytes::from_static(b"x\r\n-"));
    assert_eq!(cutter.next(), Ok(Some(Event::Data(Bytes::from_static(b"x")))));
    assert_eq!((cutter.next(), cutter.held()), (Ok(None), 3));
    // Behind it no more than half a kilobyte is copied.
    cutter.feed(chunk.clone());
    let Ok(Some(Event::Data(joined))) = cutter.next() else { panic!("held back") };
    assert_eq!(joined.len(), 3 + JOINED);
    let Ok(Some(Event::Data(data))) = cutter.next() else { panic!("held back") };
    assert_eq!(data.as_ptr(), chunk[JOINED..].as_ptr());
}

#[test]
fn a_closing_delimiter_needs_nothing_behind_it() {
    let mut cutter = Cutter::new(b"B");
    cutter.feed(Bytes::from_static(b"--B\r\n\r\nx\r\n--B--"));
    let events: Vec<Event> = std::iter::from_fn(|| cutter.next().unwrap()).collect();
    let part = Event::Part(HeaderMap::new());
    assert_eq!(events, [part, Event::Data(Bytes::from_static(b"x")), Event::EndOfPart, Event::End]);
    cutter.feed(Bytes::from_static(b"epilogue"));
    assert_eq!((cutter.next(), cutter.held(), cutter.finish()), (Ok(None), 0, Ok(())));
}

/// Bytes that are often a piece of a delimiter.
fn tricky() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(&b"\r\n"[..]),
        Just(&b"\n"[..]),
        Just(&b"\r"[..]),
        Just(&b"--B"[..]),
        Just(&b"--"[..]),
        Just(&b"-"[..]),
        Just(&b"\r\n--B\r\n"[..]),
        Just(&b"\r\n--B--"[..]),
        Just(&b"A: b\r\n"[..]),
        Just(&b" "[..]),
        Just(&b"x"[..]),
    ];
    vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_body_in_any_chunks_is_what_the_oracle_says(
        body in tricky().prop_map(|rest| [b"--B\r\n\r\n", &rest[..]].concat()).boxed().prop_union(tricky().boxed()),
        sizes in vec(1_usize..12, 1..20),
    ) {
        let mut rest = Bytes::from(body.clone());
        let pieces = sizes.iter().cycle().map_while(|size| (!rest.is_empty()).then(|| rest.split_to(rest.len().min(*size))));
        let (parts, outcome) = cut(b"B", pieces.collect::<Vec<_>>());
        let (expected, whole) = oracle::parts(&body, b"B");
        prop_assert_eq!((&parts, outcome.is_ok()), (&expected, whole));
        prop_assert_eq!((parts, outcome), cut(b"B", [Bytes::from(body)]));
    }

    #[test]
    fn what_is_written_is_read(parts in vec((vec(any::<u8>(), 0..300), any::<bool>()), 0..6), size in 1_usize..200) {
        let mut writer = Writer::new([0x5A; 16]);
        let boundary = "5a".repeat(16);
        let mut body = Vec::new();
        for (data, told) in &parts {
            let length = told.then_some(data.len() as u64);
            body.extend_from_slice(&writer.part(&crate::multipart::DICOM, length));
            body.extend_from_slice(data);
        }
        body.extend_from_slice(&writer.end());
        let (read, outcome) = cut(boundary.as_bytes(), chunks(&body, size));
        prop_assert_eq!(outcome, Ok(()));
        let data: Vec<Vec<u8>> = read.into_iter().map(|(_, data)| data).collect();
        prop_assert_eq!(data, parts.into_iter().map(|(data, _)| data).collect::<Vec<_>>());
    }

    #[test]
    fn garbage_is_never_held(garbage in vec(any::<u8>(), 0..2000), size in 1_usize..300) {
        let mut cutter = Cutter::new(b"B");
        for chunk in chunks(&[&b"--B\r\n\r\n"[..], &garbage].concat(), size) {
            cutter.feed(chunk);
            while let Ok(Some(_)) = cutter.next() {}
            prop_assert!(cutter.held() <= LONGEST_HEADER + JOINED);
        }
    }
}
