//! Orthanc's configuration files: JSON, in which C++ comments and a comma after the last item are allowed.

use serde_json::Value;

use crate::Error;

/// Parses a configuration as Orthanc (jsoncpp) does: `//` and `/* */` comments and trailing commas are skipped.
///
/// `${VARIABLE}` stays as it is: Orthanc itself replaces it.
///
/// # Errors
/// [`Error::Json`], its line and column those of `text`.
pub fn parse(text: &str) -> Result<Value, Error> {
    serde_json::from_str(&plain(text))
        .map_err(|source| Error::Json { what: "the Orthanc configuration".to_owned(), source })
}

/// Lays `patch` over `target`: objects are merged key by key, `null` removes a key, all else replaces (RFC 7396).
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key).or_insert(Value::Null), value);
        }
    }
}

/// The same text with comments and trailing commas blanked out, every other character in its place.
fn plain(text: &str) -> String {
    let mut out: Vec<char> = Vec::with_capacity(text.len());
    // Where the last comma stands, as long as only blanks and comments have followed it.
    let mut comma = None;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, rest.peek()) {
            ('"', _) => {
                comma = None;
                out.push(c);
                while let Some(c) = rest.next() {
                    out.push(c);
                    match c {
                        '\\' => out.extend(rest.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            ('/', Some('/')) => {
                out.push(' ');
                while rest.peek().is_some_and(|&c| c != '\n') {
                    rest.next();
                    out.push(' ');
                }
            }
            ('/', Some('*')) => {
                out.extend([' ', ' ']);
                rest.next();
                let mut previous = ' ';
                for c in rest.by_ref() {
                    out.push(if c == '\n' { c } else { ' ' });
                    if previous == '*' && c == '/' {
                        break;
                    }
                    previous = c;
                }
            }
            (',', _) => {
                comma = Some(out.len());
                out.push(c);
            }
            ('}' | ']', _) => {
                if let Some(blank) = comma.take().and_then(|at| out.get_mut(at)) {
                    *blank = ' ';
                }
                out.push(c);
            }
            _ => {
                if !c.is_whitespace() {
                    comma = None;
                }
                out.push(c);
            }
        }
    }
    out.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn comments_and_trailing_commas_are_skipped() {
        let text = r#"// Orthanc
        {
          "a" : "http://x/*no*/", /* one
          two */ "b" : [ 1, 2, /* last */ ], // "c" : 3
          "d" : "\"//", "e" : { "f" : "${HOME}", },
        }"#;
        assert_eq!(
            parse(text).unwrap(),
            json!({"a": "http://x/*no*/", "b": [1, 2], "d": "\"//", "e": {"f": "${HOME}"}})
        );
    }

    #[test]
    fn a_mistake_is_shown_at_its_own_line() {
        let error = parse("{ // comment\n /* two\n lines */ \"a\" = 1 }").unwrap_err().to_string();
        assert!(error.contains("line 3"), "{error}");
    }

    #[test]
    fn merging_follows_rfc_7396() {
        let mut target = json!({"a": {"b": 1, "c": 2}, "d": [1, 2]});
        merge(&mut target, &json!({"a": {"b": null, "e": 3}, "d": [9]}));
        assert_eq!(target, json!({"a": {"c": 2, "e": 3}, "d": [9]}));
    }
}
