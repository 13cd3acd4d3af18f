//! What a client did for a token, as facts that can be compared: a name and a value each.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

/// By name: `POST /token | field grant_type`.
pub(crate) type Facts = BTreeMap<String, String>;

/// What a client did, and when.
pub(crate) struct Attempt {
    /// The record of requests.
    pub(crate) seen: Vec<Value>,
    pub(crate) token: String,
    /// Seconds since 1970 at its begin and end.
    pub(crate) time: std::ops::RangeInclusive<u64>,
}

impl Attempt {
    pub(crate) fn facts(&self) -> Facts {
        let mut facts = Facts::new();
        for request in &self.seen {
            let name = format!("{} {}", text(request, "method"), text(request, "path"));
            let nth = (1..).map(|n| if n == 1 { name.clone() } else { format!("{name} (request {n})") });
            let name = nth.into_iter().find(|name| !facts.contains_key(&format!("{name} | sent"))).unwrap();
            let host = request["headers"].as_array().unwrap().iter().find(|header| header[0] == "host");
            let host =
                host.map_or_else(|| "no host".to_owned(), |header| header[1].as_str().unwrap().to_owned());
            let mut add = |fact: &str, value: String| facts.insert(format!("{name} | {fact}"), value);
            add("sent", "yes".to_owned());
            add("http", format!("{} tls {}", text(request, "http_version"), request["tls"]));
            add("query", text(request, "query"));
            for header in request["headers"].as_array().unwrap() {
                let (name, value) = (header[0].as_str().unwrap(), header[1].as_str().unwrap());
                // Follows from the body, whose members are compared.
                if name != "content-length" {
                    add(&format!("header {name}"), without_secret(name, value));
                }
            }
            for (field, value) in request["fields"].as_object().unwrap() {
                for (part, value) in self.parts(field, value.as_str().unwrap()) {
                    add(&format!("field {field}{part}"), value.replace(&host, "HOST"));
                }
            }
        }
        // A token that asks nobody is made here.
        if let (true, Some(token)) = (self.seen.is_empty(), self.signed(&self.token)) {
            facts.extend(token.into_iter().map(|(part, value)| (format!("token{part}"), value)));
        }
        facts
    }

    /// A field's value, taken apart where it is more than text.
    fn parts(&self, field: &str, value: &str) -> Facts {
        let whole = |value: String| Facts::from([(String::new(), value)]);
        match field {
            "assertion" => self.signed(value).unwrap(),
            // A URL gives another one at each request: whose it is, is what can be compared.
            "subject_token" => match self.signed(value) {
                Some(mut parts) => {
                    parts.retain(|part, _| !["iat", "exp", "jti"].iter().any(|claim| part.ends_with(claim)));
                    parts
                }
                None => aws_request(value).unwrap_or_else(|| whole(value.to_owned())),
            },
            "options" | "delegates" | "scope" => {
                whole(serde_json::from_str(value).map_or(value.to_owned(), |json: Value| json.to_string()))
            }
            _ => whole(value.to_owned()),
        }
    }

    /// Header and claims of a signed token (RFC 7519 section 3), its times in relation to the attempt.
    fn signed(&self, token: &str) -> Option<Facts> {
        let mut segments = token.split('.');
        let mut object = || -> Option<Value> {
            let bytes = URL_SAFE_NO_PAD.decode(segments.next()?).ok()?;
            serde_json::from_slice(&bytes).ok().filter(Value::is_object)
        };
        let (header, mut claims) = (object()?, object()?);
        let time = |claims: &Value, name: &str| claims[name].as_u64();
        if let (Some(issued), Some(expires)) = (time(&claims, "iat"), time(&claims, "exp")) {
            let ago = [0, 10].into_iter().find(|ago| self.time.contains(&(issued + ago)));
            let ago = ago.map_or_else(|| issued.to_string(), |ago| format!("{ago} s ago"));
            claims["iat"] = ago.into();
            claims["exp"] = format!("{} s after iat", expires - issued).into();
        }
        let members = |part: &str, object: Value| -> Facts {
            let members = object.as_object().unwrap().iter();
            members.map(|(name, value)| (format!(" {part} {name}"), value.to_string())).collect()
        };
        let mut facts = members("header", header);
        facts.extend(members("claim", claims));
        Some(facts)
    }
}

/// The members of the request that a subject token of AWS holds, without times and signature.
fn aws_request(token: &str) -> Option<Facts> {
    let form = format!("token={token}");
    let decoded = url::form_urlencoded::parse(form.as_bytes()).next()?.1.into_owned();
    let request: Value = serde_json::from_str(&decoded).ok()?;
    let mut facts = Facts::new();
    for name in ["url", "method", "body"] {
        facts.insert(format!(" {name}"), request[name].to_string());
    }
    for header in request["headers"].as_array()? {
        let (name, value) = (text(header, "key"), text(header, "value"));
        let value = match name.to_lowercase().as_str() {
            "x-amz-date" => format!("{} characters", value.len()),
            "authorization" => {
                let parts: Vec<&str> = value.split(", ").collect();
                let member = |number: usize| parts[number].split_once('=').unwrap();
                facts.insert(format!(" header {name} SignedHeaders"), member(1).1.to_owned());
                // The key's name, a day, and what the signature is for.
                let (key, scope) = member(0).1.split_once('/').unwrap();
                format!("{} {key} {} {}", member(0).0, scope.split_once('/').unwrap().1, member(2).0)
            }
            _ => value,
        };
        facts.insert(format!(" header {name}"), value);
    }
    Some(facts)
}

/// Of tokens that differ from one request to the next, the scheme is compared.
fn without_secret(header: &str, value: &str) -> String {
    match (header, value.split_once(' ')) {
        ("authorization", Some(("Bearer", _))) => "Bearer".to_owned(),
        ("x-aws-ec2-metadata-token", _) => "a session's".to_owned(),
        _ => value.to_owned(),
    }
}

fn text(object: &Value, member: &str) -> String {
    object[member].as_str().unwrap_or_default().to_owned()
}
