//! `${NAME}` and `${NAME:-default}`, which Orthanc replaces in a configuration file's text before it reads the JSON.
//!
//! As `Toolbox::SubstituteVariables` of the Orthanc framework has it: a name is anything without a colon, the default may
//! stand between quotes, which are not a part of it, and a variable that is not set and has no default becomes nothing.

/// The text with the variables' values, and where each came from.
#[derive(Debug)]
pub(crate) struct Substituted {
    /// The text as Orthanc parses it.
    pub(crate) text: String,
    /// What was replaced, in order.
    pub(crate) pieces: Vec<Piece>,
}

/// A variable that was replaced.
#[derive(Debug)]
pub(crate) struct Piece {
    /// Its name.
    pub(crate) name: String,
    /// Where it stood in the file, in bytes.
    pub(crate) original: usize,
    /// Where what follows it stood in the file.
    original_end: usize,
    /// Where its value begins in the text.
    at: usize,
    /// Where its value ends in the text.
    end: usize,
    /// It is not set and has no default.
    pub(crate) is_nothing: bool,
}

/// A variable without a name, which Orthanc refuses.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoName {
    /// Where it stands, in bytes.
    pub(crate) at: usize,
}

/// Replaces every variable; `env` tells a variable of the environment.
pub(crate) fn substitute(source: &str, env: impl Fn(&str) -> Option<String>) -> Result<Substituted, NoName> {
    let mut substituted = Substituted { text: String::with_capacity(source.len()), pieces: Vec::new() };
    let mut done = 0;
    while let Some(found) = source.get(done..).and_then(|rest| rest.find("${")) {
        let original = done + found;
        substituted.text.push_str(source.get(done..original).unwrap_or_default());
        let inside = source.get(original + 2..).unwrap_or_default();
        let Some(Variable { name, default, length }) = variable(inside) else {
            // Orthanc leaves it as it stands.
            substituted.text.push_str("${");
            done = original + 2;
            continue;
        };
        if name.is_empty() {
            return Err(NoName { at: original });
        }
        let value = env(name);
        let is_nothing = value.is_none() && default.is_none();
        let at = substituted.text.len();
        substituted.text.push_str(&value.unwrap_or_else(|| default.unwrap_or_default().to_owned()));
        done = original + 2 + length;
        let end = substituted.text.len();
        let name = name.to_owned();
        substituted.pieces.push(Piece { name, original, original_end: done, at, end, is_nothing });
    }
    substituted.text.push_str(source.get(done..).unwrap_or_default());
    Ok(substituted)
}

impl Substituted {
    /// Where the byte `at` of the text stands in the file; for a byte of a value, where its variable stands.
    pub(crate) fn original(&self, at: usize) -> usize {
        match self.pieces.iter().rev().find(|piece| piece.at <= at) {
            Some(piece) if at < piece.end => piece.original,
            Some(piece) => piece.original_end + (at - piece.end),
            None => at,
        }
    }
}

struct Variable<'s> {
    name: &'s str,
    default: Option<&'s str>,
    /// Of everything up to the closing brace, with it.
    length: usize,
}

/// Reads what follows `${`, if it is a variable.
fn variable(inside: &str) -> Option<Variable<'_>> {
    let name_end = inside.find([':', '}'])?;
    let (name, rest) = inside.split_at(name_end);
    if rest.starts_with('}') {
        return Some(Variable { name, default: None, length: name_end + 1 });
    }
    let default = rest.strip_prefix(":-")?;
    let begin = name_end + 2;
    // Without quotes in it, up to the first brace; otherwise between two quotes and a brace.
    let bare = default
        .find(['}', '"', '\''])
        .filter(|at| default.get(*at..).is_some_and(|rest| rest.starts_with('}')));
    if let Some(end) = bare {
        return Some(Variable { name, default: default.get(..end), length: begin + end + 1 });
    }
    let quote = default.chars().next().filter(|letter| matches!(letter, '"' | '\''))?;
    let quoted = default.get(1..)?;
    let end = quoted.find(quote)?;
    quoted.get(end + 1..)?.starts_with('}').then(|| Variable {
        name,
        default: quoted.get(..end),
        length: begin + 1 + end + 2,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "SET" => Some("value".to_owned()),
            "EMPTY" => Some(String::new()),
            "A:B" => Some("never".to_owned()),
            "with blank" => Some("blank".to_owned()),
            _ => None,
        }
    }

    fn replaced(source: &str) -> String {
        substitute(source, env).unwrap().text
    }

    #[test]
    fn as_orthanc_has_it() {
        for (source, expected) in [
            ("a ${SET} b", "a value b"),
            ("${SET}${SET}", "valuevalue"),
            ("${NOT}", ""),
            ("${SET:-x}", "value"),
            ("${NOT:-x y}", "x y"),
            ("${NOT:-}", ""),
            ("${EMPTY:-x}", ""),
            ("${NOT:-\"x } y\"}", "x } y"),
            ("${NOT:-'x \" y'}", "x \" y"),
            ("${NOT:-a:-b}", "a:-b"),
            ("${with blank}", "blank"),
            // Not a variable: as it stands.
            ("${A:B}", "${A:B}"),
            ("${NOT:-x\"}", "${NOT:-x\"}"),
            ("${NOT:-\"x\" }", "${NOT:-\"x\" }"),
            ("$SET {SET} ${SET", "$SET {SET} ${SET"),
            ("${A:B} ${SET}", "${A:B} value"),
        ] {
            assert_eq!(replaced(source), expected, "{source}");
        }
        assert_eq!(substitute("ab${}", env).unwrap_err(), NoName { at: 2 });
        assert_eq!(substitute("${:-x}", env).unwrap_err(), NoName { at: 0 });
    }

    #[test]
    fn places_lead_back_to_the_file() {
        let source = "xy${SET}cd${NOT}gh";
        let substituted = substitute(source, env).unwrap();
        assert_eq!(substituted.text, "xyvaluecdgh");
        let back = |letter| substituted.original(substituted.text.find(letter).unwrap());
        assert_eq!(["x", "y", "v", "u", "c", "d", "g", "h"].map(back), [0, 1, 2, 2, 8, 9, 16, 17]);
        assert_eq!(substituted.original(substituted.text.len()), source.len());
        let nothing: Vec<_> = substituted.pieces.iter().map(|piece| piece.is_nothing).collect();
        assert_eq!(nothing, [false, true]);
    }
}
