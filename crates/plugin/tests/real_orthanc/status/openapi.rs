//! The description of the routes, as a judge of answers.

use std::{cell::RefCell, collections::BTreeSet};

use serde_json::{Map, Value};

/// `docs/openapi.json`, of version 3.1.0 of that standard, as the plugin gives it.
pub(super) struct OpenApi {
    document: Value,
    /// The operations and statuses that were seen.
    seen: RefCell<BTreeSet<String>>,
}

/// What the document uses of JSON Schema (draft 2020-12).
const KEYWORDS: [&str; 12] = [
    "$ref",
    "additionalProperties",
    "anyOf",
    "default",
    "description",
    "enum",
    "format",
    "items",
    "minimum",
    "properties",
    "required",
    "type",
];

impl OpenApi {
    pub(super) fn new(document: Value) -> Self {
        assert_eq!(document["openapi"], "3.1.0");
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
        let written: Value = serde_json::from_str(include_str!("../../../../../docs/openapi.json")).unwrap();
        assert_eq!(document, written);
        Self { document, seen: RefCell::default() }
    }

    /// An answer to a request for a path that the document has.
    #[track_caller]
    pub(super) fn check(&self, method: &str, path: &str, status: u16, body: &Value) {
        let template = self.template(path).unwrap_or_else(|| panic!("{path} is not described"));
        let operation = &self.document["paths"][&template][method];
        if operation.is_null() {
            assert_eq!(status, 405, "{method} {path} is not described");
            assert_eq!(*body, Value::Null);
            return;
        }
        let response = &operation["responses"][status.to_string()];
        assert!(response.is_object(), "{method} {path}: {status} is not described: {body}");
        self.seen.borrow_mut().insert(format!("{method} {template} {status}"));
        let schema = &response["content"]["application/json"]["schema"];
        if schema.is_null() {
            assert_eq!(*body, Value::Null, "{method} {path}: no body is described");
            return;
        }
        let mut mistakes = Vec::new();
        self.validate(schema, body, "", &mut mistakes);
        assert!(mistakes.is_empty(), "{method} {path} {status}: {mistakes:#?}\n{body:#}");
    }

    /// Every operation and status that the document has and nobody saw.
    pub(super) fn unseen(&self) -> Vec<String> {
        let mut all = Vec::new();
        for (template, methods) in self.document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let Some(responses) = operation["responses"].as_object() else { continue };
                all.extend(responses.keys().map(|status| format!("{method} {template} {status}")));
            }
        }
        all.retain(|one| !self.seen.borrow().contains(one));
        all
    }

    /// Every path with each of its methods.
    pub(super) fn operations(&self) -> Vec<(String, String)> {
        let paths = self.document["paths"].as_object().unwrap();
        let of = |(path, methods): (&String, &Value)| -> Vec<(String, String)> {
            let methods = methods.as_object().unwrap().keys().filter(|method| *method != "parameters");
            methods.map(|method| (path.clone(), method.clone())).collect()
        };
        paths.iter().flat_map(of).collect()
    }

    fn template(&self, path: &str) -> Option<String> {
        let fits = |template: &&String| {
            let (parts, wanted): (Vec<_>, Vec<_>) =
                (template.split('/').collect(), path.split('/').collect());
            parts.len() == wanted.len()
                && parts.iter().zip(wanted).all(|(part, wanted)| *part == "{name}" || *part == wanted)
        };
        self.document["paths"].as_object().unwrap().keys().find(fits).cloned()
    }

    fn validate(&self, schema: &Value, value: &Value, at: &str, mistakes: &mut Vec<String>) {
        let schema = schema.as_object().unwrap_or_else(|| panic!("{schema} is no schema"));
        for keyword in schema.keys() {
            assert!(KEYWORDS.contains(&keyword.as_str()), "`{keyword}` is not understood");
        }
        if let Some(reference) = schema.get("$ref") {
            let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
            let referred = self.document.pointer(pointer).unwrap_or_else(|| panic!("{pointer} is not there"));
            return self.validate(referred, value, at, mistakes);
        }
        if let Some(choices) = schema.get("anyOf") {
            let mut all = Vec::new();
            for choice in choices.as_array().unwrap() {
                let mut of_choice = Vec::new();
                self.validate(choice, value, at, &mut of_choice);
                if of_choice.is_empty() {
                    return;
                }
                all.extend(of_choice);
            }
            return mistakes.extend(all);
        }
        let types: Vec<&str> = match &schema["type"] {
            Value::String(one) => vec![one],
            Value::Array(several) => several.iter().map(|one| one.as_str().unwrap()).collect(),
            other => panic!("{at}: {other} is no type"),
        };
        if !types.iter().any(|wanted| is_of_type(value, wanted)) {
            return mistakes.push(format!("{at} is {value}, not of type {types:?}"));
        }
        if schema.get("enum").is_some_and(|values| !values.as_array().unwrap().contains(value)) {
            mistakes.push(format!("{at} is {value}, which is not listed"));
        }
        if schema
            .get("minimum")
            .is_some_and(|least| value.as_f64().is_some_and(|v| v < least.as_f64().unwrap()))
        {
            mistakes.push(format!("{at} is {value}, too small"));
        }
        if schema.get("format").is_some_and(|format| format == "date-time")
            && value.as_str().is_some_and(|text| !is_utc(text))
        {
            mistakes.push(format!("{at} is {value}, no date"));
        }
        if let (Some(items), Value::Array(values)) = (schema.get("items"), value) {
            for (index, value) in values.iter().enumerate() {
                self.validate(items, value, &format!("{at}[{index}]"), mistakes);
            }
        }
        if let Value::Object(members) = value {
            self.validate_object(schema, members, at, mistakes);
        }
    }

    fn validate_object(
        &self,
        schema: &Map<String, Value>,
        members: &Map<String, Value>,
        at: &str,
        mistakes: &mut Vec<String>,
    ) {
        for required in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            if !members.contains_key(required.as_str().unwrap()) {
                mistakes.push(format!("{at}.{required} is missing"));
            }
        }
        let Some(properties) = schema.get("properties") else { return };
        assert_eq!(schema["additionalProperties"], false, "{at} may hold anything");
        for (name, value) in members {
            match properties.get(name) {
                Some(property) => self.validate(property, value, &format!("{at}.{name}"), mistakes),
                None => mistakes.push(format!("{at}.{name} is not described")),
            }
        }
    }
}

fn is_of_type(value: &Value, wanted: &str) -> bool {
    match wanted {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other} is no type"),
    }
}

/// `2026-11-23T18:00:00Z`
fn is_utc(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "0000-00-00T00:00:00Z"
}
