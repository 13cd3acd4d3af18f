//! What a multipart body consists of, by another way than the cutter's: slow, over the whole body, line by line.

use http::{HeaderName, HeaderValue};

use super::{
    cutter::{LONGEST_PADDING, LONGEST_PREAMBLE},
    header::{LONGEST_HEADER, MOST_FIELDS},
};

/// Names in lower case and values of the header fields, ordered by name, and the data.
pub(crate) type Part = (Vec<(String, Vec<u8>)>, Vec<u8>);

/// The header fields of a [`Part`].
pub(crate) fn fields(header: &http::HeaderMap) -> Vec<(String, Vec<u8>)> {
    let field =
        |(name, value): (&HeaderName, &HeaderValue)| (name.as_str().to_owned(), value.as_bytes().to_vec());
    let mut fields: Vec<_> = header.iter().map(field).collect();
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    fields
}

/// The parts that are complete, and whether the body is.
pub(crate) fn parts(body: &[u8], boundary: &[u8]) -> (Vec<Part>, bool) {
    let mut parts = Vec::new();
    let whole = collect(body, boundary, &mut parts).is_some();
    (parts, whole)
}

fn collect(body: &[u8], boundary: &[u8], parts: &mut Vec<Part>) -> Option<()> {
    let dash = [b"--", boundary].concat();
    let mut at = 0;
    let first = loop {
        if let Some(line) = delimiter_line(body.get(at..)?, &dash) {
            break line;
        }
        at += line_length(body.get(at..)?)?;
        if at > LONGEST_PREAMBLE {
            return None;
        }
    };
    let bare = match first {
        Line::Delimiter(length) => !body.get(..at + length)?.ends_with(b"\r\n"),
        Line::Closing => false,
    };
    let mut line = first;
    while let Line::Delimiter(length) = line {
        at += length;
        let header = at;
        let mut lines: Vec<Vec<u8>> = Vec::new();
        loop {
            let line = body.get(at..at + line_length(body.get(at..)?)?)?;
            at += line.len();
            if at - header > LONGEST_HEADER {
                return None;
            }
            let line = line.strip_suffix(b"\r\n").or(line.strip_suffix(b"\n"))?;
            match line.first() {
                None => break,
                Some(b' ' | b'\t') => lines.last_mut()?.extend([b" ", line.trim_ascii()].concat()),
                Some(_) => lines.push(line.to_vec()),
            }
        }
        if lines.len() > MOST_FIELDS {
            return None;
        }
        let mut fields = lines.iter().map(|line| field(line)).collect::<Option<Vec<_>>>()?;
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        let begin = at;
        line = loop {
            let data = body.get(begin..at)?;
            let ended =
                if at == begin || bare { data.strip_suffix(b"\n") } else { data.strip_suffix(b"\r\n") };
            let ended = if at == begin { Some(data) } else { ended };
            if let (Some(data), Some(line)) = (ended, delimiter_line(body.get(at..)?, &dash)) {
                parts.push((fields, data.to_vec()));
                break line;
            }
            at += line_length(body.get(at..)?)?;
        };
    }
    Some(())
}

/// A line that is a delimiter: with its length, or the closing one.
#[derive(Clone, Copy)]
enum Line {
    Delimiter(usize),
    Closing,
}

/// The length of the line, with its line feed.
fn line_length(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == b'\n').map(|end| end + 1)
}

/// The delimiter at the beginning of the line, if it is one.
fn delimiter_line(bytes: &[u8], dash: &[u8]) -> Option<Line> {
    let rest = bytes.strip_prefix(dash)?;
    if rest.starts_with(b"--") {
        return Some(Line::Closing);
    }
    let line = rest.get(..line_length(rest)?)?;
    let padding = line.strip_suffix(b"\r\n").or(line.strip_suffix(b"\n"))?;
    let is_padding = padding.len() <= LONGEST_PADDING && padding.iter().all(|byte| b" \t".contains(byte));
    is_padding.then_some(Line::Delimiter(dash.len() + line.len()))
}

fn field(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = HeaderName::from_bytes(line.get(..colon)?.trim_ascii_end()).ok()?;
    let value = HeaderValue::from_bytes(line.get(colon + 1..)?.trim_ascii()).ok()?;
    Some((name.as_str().to_owned(), value.as_bytes().to_vec()))
}
