//! The members of a credential's JSON: secrets never pass through the JSON library, whose buffers are not overwritten.

use std::collections::BTreeMap;

use serde_json::{Map, Value, value::RawValue};
use zeroize::Zeroizing;

use crate::Secret;

/// Members that are secret wherever they stand.
const SECRETS: [&str; 7] =
    ["access_token", "client_secret", "id_token", "password", "private_key", "refresh_token", "token"];
/// An object all of whose strings are secret.
const HEADERS: &str = "headers";
/// Google's files have objects in objects in objects.
const DEEPEST: u8 = 8;

/// A JSON object.
#[derive(Clone, Default)]
pub(super) struct Members {
    /// Its members, but for those below.
    pub(super) values: Map<String, Value>,
    /// Those that are objects.
    pub(super) objects: BTreeMap<String, Members>,
    /// Strings that are secret.
    pub(super) secrets: BTreeMap<String, Secret>,
}

/// Why bytes are not a JSON object.
pub(super) enum NoObject {
    /// They are JSON of this kind.
    Other(&'static str),
    /// They are no JSON; the message names line and column, and quotes nothing.
    Syntax(serde_json::Error),
    /// They are nested beyond all sense.
    TooDeep,
}

impl Members {
    /// Parses a JSON object.
    pub(super) fn parse(json: &[u8]) -> Result<Self, NoObject> {
        let raw: &RawValue = serde_json::from_slice(json).map_err(NoObject::Syntax)?;
        if !raw.get().starts_with('{') {
            return Err(NoObject::Other(kind_of_raw(raw.get())));
        }
        Self::of(raw, false, 0)
    }

    fn of(raw: &RawValue, all_secret: bool, depth: u8) -> Result<Self, NoObject> {
        if depth > DEEPEST {
            return Err(NoObject::TooDeep);
        }
        let raw: BTreeMap<String, &RawValue> = serde_json::from_str(raw.get()).map_err(NoObject::Syntax)?;
        let mut members = Self::default();
        for (name, raw) in raw {
            if raw.get().starts_with('{') {
                let object = Self::of(raw, name == HEADERS, depth + 1)?;
                members.objects.insert(name, object);
            } else if raw.get().starts_with('"') && (all_secret || SECRETS.contains(&name.as_str())) {
                members.secrets.insert(name, unescaped(raw.get()));
            } else {
                let value = serde_json::from_str(raw.get()).map_err(NoObject::Syntax)?;
                members.values.insert(name, value);
            }
        }
        Ok(members)
    }

    /// The kind of a member that is no secret string, in words; `None` where it is absent or null.
    pub(super) fn kind_of(&self, name: &str) -> Option<&'static str> {
        if self.objects.contains_key(name) {
            return Some("an object");
        }
        if self.secrets.contains_key(name) {
            return Some("a string");
        }
        self.values.get(name).filter(|value| !value.is_null()).map(|value| kind_of_raw(&value.to_string()))
    }
}

/// The text of a JSON string (RFC 8259 section 7) that the JSON library has found to be one. It never gets longer.
pub(super) fn unescaped(raw: &str) -> Secret {
    let inner = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')).unwrap_or(raw);
    let mut text = Zeroizing::new(String::with_capacity(inner.len()));
    let mut letters = inner.chars();
    let unit = |letters: &mut std::str::Chars<'_>| {
        let digits = letters.as_str().get(..4).and_then(|digits| u16::from_str_radix(digits, 16).ok());
        letters.nth(3);
        digits.unwrap_or(0xfffd)
    };
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            text.push(letter);
            continue;
        }
        match letters.next() {
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some('t') => text.push('\t'),
            Some('b') => text.push('\u{8}'),
            Some('f') => text.push('\u{c}'),
            Some('u') => {
                let first = unit(&mut letters);
                let mut units = vec![first];
                if (0xd800..0xdc00).contains(&first) && letters.as_str().starts_with("\\u") {
                    letters.nth(1);
                    units.push(unit(&mut letters));
                }
                let decoded = char::decode_utf16(units);
                text.extend(decoded.map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER)));
            }
            Some(other) => text.push(other),
            None => {}
        }
    }
    Secret::from(text)
}

/// A JSON value's kind, in words.
fn kind_of_raw(raw: &str) -> &'static str {
    match raw.bytes().next() {
        Some(b'n') => "null",
        Some(b't' | b'f') => "a boolean",
        Some(b'"') => "a string",
        Some(b'[') => "an array",
        Some(b'{') => "an object",
        _ => "a number",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_what_the_json_library_reads() {
        for raw in [
            r#""""#,
            r#""plain""#,
            r#""a\nb\r\t\b\f\/\\\"c""#,
            r#""\u0041\u00e9\u20ac\ud83d\ude00!""#,
            r#""-----BEGIN PRIVATE KEY-----\nMIIE\\nx\n""#,
            r#""é€😀""#,
        ] {
            let expected: String = serde_json::from_str(raw).unwrap();
            assert_eq!(unescaped(raw).expose(), expected, "{raw}");
        }
        assert_eq!(unescaped(r#""\ud83dx""#).expose(), "\u{fffd}x");
    }

    #[test]
    fn secrets_are_kept_apart_at_every_depth() {
        let json =
            br#"{"type":"t","private_key":"p","source_credentials":{"refresh_token":"r","client_id":"c"},
            "credential_source":{"headers":{"X":"h"}},"token":7}"#;
        let Ok(members) = Members::parse(json) else { panic!("it is an object") };
        assert_eq!(members.secrets["private_key"].expose(), "p");
        assert_eq!(members.values.keys().collect::<Vec<_>>(), ["token", "type"]);
        assert_eq!(members.kind_of("token"), Some("a number"));
        let source = &members.objects["source_credentials"];
        assert_eq!((source.secrets.len(), source.values["client_id"].as_str()), (1, Some("c")));
        assert_eq!(members.objects["credential_source"].objects["headers"].secrets["X"].expose(), "h");
    }

    #[test]
    fn depth_is_bounded() {
        let deep = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
        assert!(matches!(Members::parse(deep.as_bytes()), Err(NoObject::TooDeep | NoObject::Syntax(_))));
    }
}
