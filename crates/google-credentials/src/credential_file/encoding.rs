//! The forms in which a credential's file arrives that is not plain JSON: what can be read safely is read, and what cannot is named.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use zeroize::Zeroizing;

use super::members::unescaped;

/// Base64 with or without its padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// Less is no file of a credential.
const SHORTEST_BASE64: usize = 40;

/// The JSON in a file's bytes, and how it was written where that is not plain UTF-8.
pub(super) struct Decoded {
    pub(super) json: Zeroizing<Vec<u8>>,
    pub(super) form: Option<&'static str>,
}

/// Takes UTF-16, base64 and a quoted string away; or names what the bytes are instead of JSON.
pub(super) fn decode(bytes: &[u8]) -> Result<Decoded, &'static str> {
    let mut form = None;
    let mut json = Zeroizing::new(without_mark(bytes).to_vec());
    if let Some(text) = utf16(bytes) {
        json = Zeroizing::new(text.as_bytes().to_vec());
        form = Some("UTF-16");
    }
    if let Some(decoded) = base64(&json) {
        json = Zeroizing::new(without_mark(&decoded).to_vec());
        form = Some("base64");
    }
    if let Some(inner) = quoted_object(&json) {
        json = inner;
        form = Some("a JSON string");
    }
    match what(&json) {
        Some(what) => Err(what),
        None => Ok(Decoded { json, form }),
    }
}

/// Decodes base64 of one line or more; `None` where it is none.
pub(crate) fn base64(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    // The marks of PEM consist of letters of base64url.
    if text.trim_ascii_start().starts_with(b"-----") {
        return None;
    }
    let mut packed = Zeroizing::new(Vec::with_capacity(text.len()));
    for byte in text.iter().filter(|byte| !byte.is_ascii_whitespace()) {
        match byte {
            b'-' => packed.push(b'+'),
            b'_' => packed.push(b'/'),
            byte if byte.is_ascii_alphanumeric() || b"+/=".contains(byte) => packed.push(*byte),
            _ => return None,
        }
    }
    if packed.len() < SHORTEST_BASE64 {
        return None;
    }
    BASE64.decode(packed.as_slice()).ok().map(Zeroizing::new)
}

/// Without the byte order mark of UTF-8, which some editors of Windows write.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// UTF-16, as `>` of Windows PowerShell writes it: with a byte order mark, or an ASCII character to begin with.
fn utf16(bytes: &[u8]) -> Option<Zeroizing<String>> {
    let (little, bytes) = match bytes {
        [0xff, 0xfe, rest @ ..] => (true, rest),
        [0xfe, 0xff, rest @ ..] => (false, rest),
        [0x01..=0x7f, 0, ..] => (true, bytes),
        [0, 0x01..=0x7f, ..] => (false, bytes),
        _ => return None,
    };
    let unit = |pair: &[u8]| match pair {
        [a, b] if little => u16::from_le_bytes([*a, *b]),
        [a, b] => u16::from_be_bytes([*a, *b]),
        _ => 0xfffd,
    };
    // Two bytes become three at most.
    let mut text = Zeroizing::new(String::with_capacity(bytes.len() * 2));
    let letters = char::decode_utf16(bytes.chunks(2).map(unit));
    letters.for_each(|letter| text.push(letter.unwrap_or(char::REPLACEMENT_CHARACTER)));
    Some(text)
}

/// A JSON string that holds a JSON object.
fn quoted_object(json: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let text = std::str::from_utf8(json).ok()?.trim();
    if !(text.len() > 1 && text.starts_with('"') && text.ends_with('"')) {
        return None;
    }
    serde_json::from_str::<&serde_json::value::RawValue>(text).ok()?;
    let inner = unescaped(text);
    let inner = inner.expose().trim();
    inner.starts_with('{').then(|| Zeroizing::new(inner.as_bytes().to_vec()))
}

/// What bytes are that can be no JSON.
fn what(bytes: &[u8]) -> Option<&'static str> {
    let text = bytes.trim_ascii_start();
    match text {
        _ if text.starts_with(b"-----BEGIN") => Some(
            "holds a key or certificate in PEM alone, not the JSON that holds it together with the account's name",
        ),
        [0x30, 0x82, ..] => Some("is a binary key (PKCS#12, `.p12`, or DER), not JSON"),
        [0x1f, 0x8b, ..] => Some("is compressed (gzip), not JSON"),
        [b'P', b'K', 3, 4, ..] => Some("is a ZIP archive, not JSON"),
        [b'<', ..] => Some("is a web page or XML, not JSON"),
        _ => None,
    }
}
