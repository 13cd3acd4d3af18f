//! The instances of a study or series, by search (PS3.18 section 10.6), page by page.

use std::collections::BTreeMap;

use http::HeaderValue;
use serde_json::Value;

use super::{Retrieval, ledger::Key, odd::Odd};
use crate::{
    dicom_identity::Uid,
    exchange::Attempts,
    refusal::Refusal,
    search::{self, PAGE},
};

/// So many pages are asked for at once at the beginning: the list of a large study is there sooner, and whatever the study, so
/// are the connections over which its instances are asked for next; each takes three round trips to come about.
const AT_FIRST: usize = 4;

/// What a search has found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Row {
    /// An instance.
    Instance(Found),
    /// One without valid UIDs.
    Odd(Odd),
}

/// An instance that a search has found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) key: Key,
    /// Bytes of its pixels, uncompressed and grey, where it says what they are.
    pub(super) pixels: Option<u64>,
}

/// The instances from number `offset` on.
///
/// # Errors
/// As [`search::results`].
pub(super) async fn page(retrieval: &Retrieval, offset: usize) -> Result<Vec<Row>, Refusal> {
    let results =
        search(retrieval, format!("{}/instances?limit={PAGE}&offset={offset}", retrieval.path())).await?;
    Ok(read(&results, retrieval.series()))
}

async fn search(retrieval: &Retrieval, path: String) -> Result<Vec<Value>, Refusal> {
    let ask = retrieval.ask(path, HeaderValue::from_static("application/dicom+json"));
    let mut attempts = Attempts::new(&retrieval.shared, &retrieval.store, &ask, Some(&retrieval.transfer));
    search::results(&mut attempts).await
}

/// The series of the study, if they are `few`: a list so short is here long before that of the instances, and their streams can
/// begin. No series where there are more, or where it cannot be found out.
pub(super) async fn few_series(retrieval: &Retrieval, few: usize) -> Vec<Uid> {
    let path = format!("{}/series?limit={}", retrieval.study_path(), few + 1);
    let results = search(retrieval, path).await.unwrap_or_default();
    let series: Vec<Uid> = results.iter().filter_map(|result| search::uid(result, "0020000E")).collect();
    if series.len() > few { Vec::new() } else { series }
}

/// The numbers of the first instances of the pages to begin with.
pub(super) fn first_pages() -> impl Iterator<Item = usize> {
    (0..AT_FIRST).map(|page| page * PAGE)
}

/// The first instance of the page to ask for next, after `pages` have come: for the first of each how many there were. `None`
/// at the end.
pub(super) fn next_page(pages: &BTreeMap<usize, usize>) -> Option<usize> {
    let mut next = 0;
    loop {
        match pages.get(&next) {
            None => return Some(next),
            Some(0) => return None,
            Some(found) => next += found,
        }
    }
}

/// Reads results. `series`: the one that was searched.
fn read(results: &[Value], series: Option<&Uid>) -> Vec<Row> {
    let row =
        |result| found(result, series).map_or_else(|| Row::Odd(Odd::read(result, series)), Row::Instance);
    results.iter().map(row).collect()
}

fn found(result: &Value, series: Option<&Uid>) -> Option<Found> {
    // IS is a number in JSON, but many write it as a string.
    let number = |tag: &str| {
        search::first(result, tag)
            .and_then(|value| value.as_u64().or_else(|| value.as_str()?.trim().parse().ok()))
    };
    let pixels = || {
        let (rows, columns) = (number("00280010")?, number("00280011")?);
        let bytes = number("00280100").unwrap_or(8).div_ceil(8);
        let frames = number("00280008").unwrap_or(1);
        rows.checked_mul(columns)?.checked_mul(bytes)?.checked_mul(frames)
    };
    let series = search::uid(result, "0020000E").or_else(|| series.cloned())?;
    Some(Found { key: Key { series, instance: search::uid(result, "00080018")? }, pixels: pixels() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(text: &str) -> Uid {
        Uid::parse(text.as_bytes()).unwrap()
    }

    fn check(body: &'static str, series: Option<&str>, expected: Option<&[(&str, &str, Option<u64>)]>) {
        let expected = expected.map(|all| {
            let found = |(series, instance, pixels): &(&str, &str, Option<u64>)| Found {
                key: Key { series: uid(series), instance: uid(instance) },
                pixels: *pixels,
            };
            all.iter().map(|one| Row::Instance(found(one))).collect::<Vec<_>>()
        });
        let results = search::read(body.as_bytes());
        assert_eq!(results.map(|results| read(&results, series.map(uid).as_ref())), expected, "{body}");
    }

    #[test]
    fn listings_are_read() {
        check("", None, Some(&[]));
        check("[]", None, Some(&[]));
        check(
            r#"[{"0020000E":{"vr":"UI","Value":["1.2"]},"00080018":{"vr":"UI","Value":["1.3"]},
                 "00280010":{"vr":"US","Value":[512]},"00280011":{"vr":"US","Value":[256]},
                 "00280100":{"vr":"US","Value":[12]},"00280008":{"vr":"IS","Value":["3"]}},
                {"0020000E":{"vr":"UI","Value":["1.2"]},"00080018":{"vr":"UI","Value":["1.4"]},"00280008":{"vr":"IS"}}]"#,
            None,
            Some(&[("1.2", "1.3", Some(512 * 256 * 2 * 3)), ("1.2", "1.4", None)]),
        );
        check(r#"[{"00080018":{"vr":"UI","Value":["1.3"]}}]"#, Some("1.9"), Some(&[("1.9", "1.3", None)]));
    }

    #[test]
    fn only_an_empty_page_is_the_end() {
        for (pages, next) in [
            (&[][..], Some(0)),
            (&[(0, 0), (1000, 0)], None),
            (&[(0, 400), (1000, 0), (2000, 0)], Some(400)),
            (&[(0, 400), (400, 0), (1000, 0)], None),
            (&[(0, 1000), (1000, 1000), (2000, 500), (3000, 0)], Some(2500)),
            (&[(0, 1000), (1000, 0)], None),
            (&[(0, 100), (1000, 100)], Some(100)),
        ] {
            assert_eq!(next_page(&pages.iter().copied().collect()), next, "{pages:?}");
        }
    }

    #[test]
    fn something_else_is_not_a_listing() {
        for body in ["<html>", "{}", "7", "[{]"] {
            check(body, None, None);
        }
    }

    #[test]
    fn an_odd_row_leaves_the_others() {
        for odd in [
            "7",
            "{}",
            r#"{"00080018":{"vr":"UI","Value":["1.3"]}}"#,
            r#"{"0020000E":{"vr":"UI","Value":["1.2"]}}"#,
            r#"{"0020000E":{"vr":"UI","Value":["1.2"]},"00080018":{"vr":"UI","Value":[]}}"#,
            r#"{"0020000E":{"vr":"UI","Value":["1.2"]},"00080018":{"vr":"UI","Value":[1.3]}}"#,
            r#"{"0020000E":{"vr":"UI","Value":["1.2"]},"00080018":{"vr":"UI","Value":["../x"]}}"#,
            r#"{"0020000E":{"vr":"UI","Value":["1.2."]},"00080018":{"vr":"UI","Value":["1.3"]}}"#,
        ] {
            let good =
                r#"{"0020000E":{"vr":"UI","Value":["1.2 "]},"00080018":{"vr":"UI","Value":["01.003"]}}"#;
            let results = search::read(format!("[{good},{odd}]").as_bytes()).unwrap();
            let rows = read(&results, None);
            let key = Key { series: uid("1.2"), instance: uid("01.003") };
            assert_eq!(rows[0], Row::Instance(Found { key, pixels: None }));
            assert!(matches!(rows[1], Row::Odd(_)), "{odd}");
        }
    }
}
