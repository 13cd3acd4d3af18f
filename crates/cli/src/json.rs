//! JSON as Orthanc reads it (jsoncpp with its defaults), with the place of every key.
//!
//! More is allowed than in RFC 8259: comments of C and C++, a comma after the last item, leading zeros, a key twice (the last
//! one counts), and anything behind the end of the document; line breaks in strings up to jsoncpp 1.9.5.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};

/// The parsed text.
#[derive(Debug)]
pub(crate) struct Document {
    /// What it says.
    pub(crate) value: Value,
    /// Where each key of each object stands, in bytes; by the keys and indices that lead to it.
    pub(crate) keys: BTreeMap<Vec<String>, usize>,
    /// Keys that stand twice in an object, with the place of the second.
    pub(crate) twice: Vec<(Vec<String>, usize)>,
    /// Where a control character stands in a string for the first time: jsoncpp refuses it since 1.9.6.
    pub(crate) control: Option<usize>,
    /// Where something stands behind the end of the document, which nobody reads.
    pub(crate) behind: Option<usize>,
}

/// Why it is no JSON.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    /// Where, in bytes.
    pub(crate) at: usize,
    /// What is wrong, and what to do. Quotes nothing of the text, which may hold secrets.
    pub(crate) what: &'static str,
}

/// jsoncpp goes down to 1000, which no configuration does, and which would need more stack than a thread may have.
const DEEPEST: usize = 200;

/// Parses a whole document.
pub(crate) fn parse(text: &str) -> Result<Document, SyntaxError> {
    let mut parser =
        Parser { text, at: 0, path: Vec::new(), keys: BTreeMap::new(), twice: Vec::new(), control: None };
    parser.skip("\u{feff}");
    parser.blanks()?;
    let value = parser.value()?;
    let end = parser.at;
    let behind = match parser.blanks() {
        Ok(()) => (parser.at < text.len()).then_some(parser.at),
        Err(_) => Some(end),
    };
    Ok(Document { value, keys: parser.keys, twice: parser.twice, control: parser.control, behind })
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    path: Vec<String>,
    keys: BTreeMap<Vec<String>, usize>,
    twice: Vec<(Vec<String>, usize)>,
    control: Option<usize>,
}

impl<'t> Parser<'t> {
    fn value(&mut self) -> Result<Value, SyntaxError> {
        if self.path.len() >= DEEPEST {
            return Err(self.wrong("this is nested more than 200 times; take some of it away"));
        }
        match self.peek() {
            Some('{') => self.object(),
            Some('[') => self.array(),
            Some('"') => self.string().map(Value::String),
            Some('-' | '0'..='9') => self.number(),
            Some('\'') => Err(self.wrong("a string stands between double quotes here; write \" for '")),
            None => Err(self.wrong("the text ends where a value is expected; complete it")),
            Some(_) => {
                for (word, value) in
                    [("true", Value::Bool(true)), ("false", Value::Bool(false)), ("null", Value::Null)]
                {
                    if self.skip(word) {
                        return Ok(value);
                    }
                }
                Err(self.wrong(
                    "this is no value; write a number, true, false, null, or a string between double quotes",
                ))
            }
        }
    }

    fn object(&mut self) -> Result<Value, SyntaxError> {
        let open = self.at;
        self.skip("{");
        let mut members = Map::new();
        loop {
            self.blanks()?;
            if self.skip("}") {
                return Ok(Value::Object(members));
            }
            let key_at = self.at;
            match self.peek() {
                Some('"') => {}
                None => return Err(unclosed(open, "this object is not closed; add `}` at its end")),
                Some(_) => {
                    return Err(self.wrong("a key in double quotes is expected here, or `}` for the end"));
                }
            }
            let key = self.string()?;
            self.blanks()?;
            if !self.skip(":") {
                return Err(self.wrong("a colon is missing between the key and its value; add `:`"));
            }
            self.blanks()?;
            self.path.push(key.clone());
            if members.contains_key(&key) {
                self.forget();
                self.twice.push((self.path.clone(), key_at));
            }
            self.keys.insert(self.path.clone(), key_at);
            let value = self.value()?;
            self.path.pop();
            members.insert(key, value);
            self.blanks()?;
            if !self.skip(",") && self.peek() != Some('}') {
                return Err(match self.peek() {
                    None => unclosed(open, "this object is not closed; add `}` at its end"),
                    Some(_) => self.wrong("a comma is missing before this, or `}` for the end of the object"),
                });
            }
        }
    }

    fn array(&mut self) -> Result<Value, SyntaxError> {
        let open = self.at;
        self.skip("[");
        let mut items = Vec::new();
        loop {
            self.blanks()?;
            if self.skip("]") {
                return Ok(Value::Array(items));
            }
            if self.peek().is_none() {
                return Err(unclosed(open, "this array is not closed; add `]` at its end"));
            }
            self.path.push(items.len().to_string());
            items.push(self.value()?);
            self.path.pop();
            self.blanks()?;
            if !self.skip(",") && self.peek() != Some(']') {
                return Err(match self.peek() {
                    None => unclosed(open, "this array is not closed; add `]` at its end"),
                    Some(_) => self.wrong("a comma is missing before this, or `]` for the end of the array"),
                });
            }
        }
    }

    fn string(&mut self) -> Result<String, SyntaxError> {
        let open = self.at;
        let unclosed = || unclosed(open, "this string is not closed; add `\"` at its end");
        self.skip("\"");
        let mut string = String::new();
        loop {
            let at = self.at;
            match self.next().ok_or_else(unclosed)? {
                '"' => return Ok(string),
                '\\' => match self.next().ok_or_else(unclosed)? {
                    letter @ ('"' | '/' | '\\') => string.push(letter),
                    'b' => string.push('\u{8}'),
                    'f' => string.push('\u{c}'),
                    'n' => string.push('\n'),
                    'r' => string.push('\r'),
                    't' => string.push('\t'),
                    'u' => string.push(self.escaped(at)?),
                    _ => {
                        let what = "no such letter follows a backslash; write `\\\\` for a backslash itself";
                        return Err(SyntaxError { at, what });
                    }
                },
                letter => {
                    if letter < ' ' {
                        self.control.get_or_insert(at);
                    }
                    string.push(letter);
                }
            }
        }
    }

    /// What follows `\u`: a code unit of UTF-16, or two that are one character.
    fn escaped(&mut self, at: usize) -> Result<char, SyntaxError> {
        let what = "four hexadecimal digits follow `\\u`, and the second half of a pair follows the first";
        let first = self.four_digits().ok_or(SyntaxError { at, what })?;
        if !(0xd800..0xdc00).contains(&first) {
            return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let second = if self.skip("\\u") { self.four_digits() } else { None };
        let second = second.ok_or(SyntaxError { at, what })?;
        let whole = 0x1_0000 + ((first & 0x3ff) << 10) + (second & 0x3ff);
        Ok(char::from_u32(whole).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn four_digits(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        self.at += 4;
        u32::from_str_radix(digits, 16).ok()
    }

    fn number(&mut self) -> Result<Value, SyntaxError> {
        let start = self.at;
        let digits = |parser: &mut Self| parser.while_in(|letter| letter.is_ascii_digit());
        self.skip("-");
        digits(self);
        let whole = self.at;
        if self.skip(".") {
            digits(self);
        }
        if self.skip("e") || self.skip("E") {
            let _signed = self.skip("+") || self.skip("-");
            digits(self);
        }
        let written = self.text.get(start..self.at).unwrap_or_default();
        let integer =
            || written.parse::<u64>().map(Number::from).or_else(|_| written.parse::<i64>().map(Number::from));
        let number = match integer() {
            Ok(number) if self.at == whole => Some(number),
            _ => written.parse().ok().and_then(Number::from_f64),
        };
        number.map(Value::Number).ok_or(SyntaxError {
            at: start,
            what: "this is no number, or too large for one; correct it, or put it between double quotes",
        })
    }

    /// Passes over blanks and comments.
    fn blanks(&mut self) -> Result<(), SyntaxError> {
        loop {
            self.while_in(|letter| matches!(letter, ' ' | '\t' | '\r' | '\n'));
            let start = self.at;
            if self.skip("//") {
                self.while_in(|letter| !matches!(letter, '\n' | '\r'));
            } else if self.skip("/*") {
                let rest = self.text.get(self.at..).unwrap_or_default();
                let Some(length) = rest.find("*/") else {
                    return Err(unclosed(start, "this comment is not closed; add `*/` at its end"));
                };
                self.at += length + 2;
            } else {
                return Ok(());
            }
        }
    }

    /// A key comes a second time: what stood in the first one is gone.
    fn forget(&mut self) {
        let path = &self.path;
        self.keys.retain(|key, _| !key.starts_with(path));
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn skip(&mut self, word: &str) -> bool {
        let there = self.rest().starts_with(word);
        if there {
            self.at += word.len();
        }
        there
    }

    fn while_in(&mut self, fits: impl Fn(char) -> bool) {
        let rest = self.rest();
        self.at += rest.find(|letter| !fits(letter)).unwrap_or(rest.len());
    }

    fn wrong(&self, what: &'static str) -> SyntaxError {
        SyntaxError { at: self.at, what }
    }
}

/// The end of the text came: what is to blame stands where it was opened.
fn unclosed(at: usize, what: &'static str) -> SyntaxError {
    SyntaxError { at, what }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn value(text: &str) -> Value {
        parse(text).unwrap().value
    }

    #[test]
    fn what_jsoncpp_takes() {
        let text = "\u{feff}// one\n{ /* two */ \"a\": [1, -2.50, 1e3, 007, 1.,], // three\r \"b\": {\"c\": null,},\n\"d\": \"x\ny\\u00e9\\ud83d\\ude00\\/\", \"e\" : 18446744073709551616 , \"t\": true}";
        assert_eq!(
            value(text),
            json!({"a": [1, -2.5, 1000.0, 7, 1.0], "b": {"c": null}, "d": "x\nyé😀/",
                "e": 18_446_744_073_709_551_616.0, "t": true})
        );
        assert_eq!(value("{\"a\": \"http://x/*no*/\"}"), json!({"a": "http://x/*no*/"}));
        assert_eq!(value("{} and what follows"), json!({}));
        assert_eq!(parse("{} and what follows").unwrap().behind, Some(3));
        assert_eq!(parse("{} // said\n").unwrap().behind, None);
    }

    #[test]
    fn control_characters_in_strings_are_noticed() {
        assert_eq!(parse("{\"a\": \"x\ty\nz\"}").unwrap().control, Some(8));
        assert_eq!(parse("{\n\"a\":\t\"x\\ty\"}").unwrap().control, None);
    }

    #[test]
    fn what_it_does_not_take() {
        for (text, at, said) in [
            ("", 0, "ends"),
            ("{\"a\": 1", 0, "not closed; add `}`"),
            ("{\"a\": [1, 2}", 11, "comma is missing before this, or `]`"),
            ("{\"a\" = 1}", 5, "colon"),
            ("{\"a\": 1 \"b\": 2}", 8, "comma is missing before this, or `}`"),
            ("{a: 1}", 1, "key in double quotes"),
            ("{,}", 1, "key in double quotes"),
            ("{\"a\": 'x'}", 6, "double quotes"),
            ("{\"a\": yes}", 6, "no value"),
            ("{\"a\": \"x}", 6, "string is not closed"),
            ("{\"a\": \"C:\\Program\"}", 9, "backslash"),
            ("{\"a\": \"\\u12\"}", 7, "hexadecimal"),
            ("{\"a\": \"\\ud83dx\"}", 7, "hexadecimal"),
            ("{\"a\": 1e}", 6, "no number"),
            ("{\"a\": 1e999}", 6, "no number"),
            ("{ /* }", 2, "comment is not closed"),
            ("[,]", 1, "no value"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.at, at, "{text}: {}", error.what);
            assert!(error.what.contains(said), "{text}: {}", error.what);
        }
        let deep = "[".repeat(2000);
        assert!(parse(&deep).unwrap_err().what.contains("200 times"));
    }

    #[test]
    fn every_key_has_its_place_and_the_last_of_two_counts() {
        let text = r#"{"a": {"x": 1, "y": [{"z": 2}]}, "b": 3, "a": {"y": 4}}"#;
        let document = parse(text).unwrap();
        assert_eq!(document.value, json!({"a": {"y": 4}, "b": 3}));
        let places: Vec<_> = document.keys.iter().map(|(path, at)| (path.join("."), *at)).collect();
        assert_eq!(places, [("a".to_owned(), 41), ("a.y".to_owned(), 47), ("b".to_owned(), 33)]);
        assert_eq!(document.twice, [(vec!["a".to_owned()], 41)]);
    }
}
