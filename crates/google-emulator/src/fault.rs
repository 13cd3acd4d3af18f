//! What misbehaviour can be asked for.

use crate::healthcare::PROCESSING_FAILURE;
use axum::http::{Method, request::Parts};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// The kinds of requests that a fault can be aimed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// The token endpoint.
    Token,
    /// Store (PS3.18 section 10.5).
    Stow,
    /// Search (PS3.18 section 10.6).
    Qido,
    /// Google's update of instances, `PUT` (v1beta1).
    Update,
    /// Retrieve, metadata included (PS3.18 section 10.4). In the record it stands for the four that follow, too.
    Wado,
    /// As a fault's aim: retrieve of a study, without its metadata.
    WadoStudy,
    /// As a fault's aim: retrieve of a series, without its metadata.
    WadoSeries,
    /// As a fault's aim: retrieve of a single instance, without its metadata.
    WadoInstance,
    /// As a fault's aim: retrieve of metadata.
    WadoMetadata,
    /// Delete, and the polling of its operation.
    Delete,
    /// The metadata server, all of it.
    Metadata,
    /// Security token service: token exchange and the refresh of workforce sessions.
    Sts,
    /// IAM Service Account Credentials.
    Iam,
    /// The URL that gives external subject tokens.
    Subject,
    /// The pretend AWS instance metadata service.
    Imds,
    /// As a fault's aim: every request. In the record: a request that is none of the others.
    Any,
}

impl Route {
    /// What the record says.
    pub(crate) fn recorded(self) -> Self {
        match self {
            Self::WadoStudy | Self::WadoSeries | Self::WadoInstance | Self::WadoMetadata => Self::Wado,
            other => other,
        }
    }

    /// Whether a fault aimed here strikes a request of the kind `kind`.
    fn covers(self, kind: Self) -> bool {
        self == Self::Any || self == kind || self == kind.recorded()
    }
}

/// What a fault can be aimed at in a request.
#[derive(Clone, Debug)]
pub(crate) struct Aim {
    pub(crate) kind: Route,
    pub(crate) method: Method,
    pub(crate) path: String,
}

impl Aim {
    pub(crate) fn new(kind: Route, parts: &Parts) -> Self {
        Self { kind, method: parts.method.clone(), path: parts.uri.path().to_owned() }
    }
}

/// One kind of misbehaviour, aimed at a kind of requests.
///
/// ```
/// use google_emulator::{Fault, Route};
/// let busy = Fault::answer(Route::Token, 503, "").header("Retry-After", "1").times(3);
/// let slow = Fault::latency(Route::Any, std::time::Duration::from_millis(200)).until_cleared();
/// # let _ = (busy, slow);
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Which requests it strikes.
    pub on: Route,
    /// Of those, only the ones whose path contains this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_contains: Option<String>,
    /// Of those, only the ones with this method: `PUT`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Which of these, counted from the moment the fault is set.
    #[serde(default)]
    pub when: When,
    /// What happens to them.
    pub effect: Effect,
}

/// How often a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// The next so many requests.
    Times(u64),
    /// Every n-th request, until cleared.
    Every(u64),
    /// Every request, until cleared.
    UntilCleared,
}

impl Default for When {
    fn default() -> Self {
        Self::Times(1)
    }
}

/// What happens to a request that a fault strikes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Effect {
    /// The request's body is read, then this is answered instead of what Google would say.
    Answer(Answer),
    /// The answer is held back for so many milliseconds; other faults still apply.
    Latency {
        /// The delay.
        milliseconds: u64,
    },
    /// The request is read and never answered.
    Hang {},
    /// The connection is accepted and nothing is ever sent or read, not even for TLS. Counts connections, not requests: those
    /// to the metadata server, those to all else, or all, as [`Fault::on`] is [`Route::Metadata`], another route, or
    /// [`Route::Any`].
    HangBeforeTls {},
    /// The true answer, broken off after so many bytes of its body; its Content-Length announces more.
    CutBody {
        /// Bytes of body that are still sent.
        after_bytes: u64,
    },
    /// The connection (with HTTP/2: the stream) is closed without an answer once so many bytes of the request's body have
    /// arrived.
    Reset {
        /// Bytes of body that are still read.
        after_bytes: u64,
    },
    /// One of these after the other, each time that the fault strikes, over and over.
    InTurn(Vec<Effect>),
    /// A store or update request does not store this instance and says so; the others of the request are stored.
    /// [`Fault::when`] counts how often the instance comes, not requests.
    RefuseInstance(Refusal),
}

/// Which instance is refused, and what the answer says about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// The SOP Instance UID.
    pub sop_instance_uid: String,
    /// The `FailureReason` (PS3.18 table I.2-2); Google's is always 272, "processing failure".
    #[serde(default = "processing_failure")]
    pub reason: u16,
    /// Google's private `FailureDetail`.
    #[serde(default)]
    pub detail: String,
}

fn processing_failure() -> u16 {
    PROCESSING_FAILURE
}

/// An answer given instead of the true one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// HTTP status, 100 to 999.
    pub status: u16,
    /// Header fields, `Retry-After` for instance. Without a Content-Type it is `application/json`.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body, whatever it is.
    #[serde(default)]
    pub body: String,
    /// First let the request take effect, then lie about it: a lost answer.
    #[serde(default)]
    pub after_handling: bool,
}

impl Fault {
    /// `effect` on the next request of the kind `on`.
    pub fn new(on: Route, effect: Effect) -> Self {
        Self { on, path_contains: None, method: None, when: When::default(), effect }
    }

    /// `status` and `body` (`application/json` unless [`Fault::header`] says otherwise) instead of the true answer.
    pub fn answer(on: Route, status: u16, body: impl Into<String>) -> Self {
        let answer = Answer { status, headers: BTreeMap::new(), body: body.into(), after_handling: false };
        Self::new(on, Effect::Answer(answer))
    }

    /// The answer comes later.
    pub fn latency(on: Route, delay: Duration) -> Self {
        let milliseconds = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        Self::new(on, Effect::Latency { milliseconds })
    }

    /// The answer never comes.
    pub fn hang(on: Route) -> Self {
        Self::new(on, Effect::Hang {})
    }

    /// The connection is accepted and nothing else: TLS never begins.
    pub fn hang_before_tls() -> Self {
        Self::new(Route::Any, Effect::HangBeforeTls {})
    }

    /// The answer's body breaks off.
    pub fn cut_body(on: Route, after_bytes: u64) -> Self {
        Self::new(on, Effect::CutBody { after_bytes })
    }

    /// The connection closes while the request is being sent.
    pub fn reset(on: Route, after_bytes: u64) -> Self {
        Self::new(on, Effect::Reset { after_bytes })
    }

    /// One effect after the other, each time that it strikes: with [`Fault::every`], a mixture that is the same in every run.
    pub fn in_turn(on: Route, effects: impl IntoIterator<Item = Effect>) -> Self {
        Self::new(on, Effect::InTurn(effects.into_iter().collect()))
    }

    /// This instance is not stored, for as long as the fault is there, and `detail` tells why.
    pub fn refuse_instance(sop_instance_uid: &str, detail: &str) -> Self {
        let (sop_instance_uid, detail) = (sop_instance_uid.to_owned(), detail.to_owned());
        let refusal = Refusal { sop_instance_uid, reason: PROCESSING_FAILURE, detail };
        Self::new(Route::Any, Effect::RefuseInstance(refusal)).until_cleared()
    }

    /// Adds a header field to an [`Effect::Answer`]; no other effect has any.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Effect::Answer(answer) = &mut self.effect {
            answer.headers.insert(name.to_owned(), value.to_owned());
        }
        self
    }

    /// Lets the request take effect before the [`Effect::Answer`] lies about it.
    #[must_use]
    pub fn after_handling(mut self) -> Self {
        if let Effect::Answer(answer) = &mut self.effect {
            answer.after_handling = true;
        }
        self
    }

    /// Strikes only requests whose path contains `text`.
    #[must_use]
    pub fn on_path(mut self, text: &str) -> Self {
        self.path_contains = Some(text.to_owned());
        self
    }

    /// Strikes only requests with this method.
    #[must_use]
    pub fn on_method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// Strikes the next `count` requests.
    #[must_use]
    pub fn times(mut self, count: u64) -> Self {
        self.when = When::Times(count);
        self
    }

    /// Strikes every `n`-th request until cleared.
    #[must_use]
    pub fn every(mut self, n: u64) -> Self {
        self.when = When::Every(n);
        self
    }

    /// Strikes every request until cleared.
    #[must_use]
    pub fn until_cleared(mut self) -> Self {
        self.when = When::UntilCleared;
        self
    }
}

impl Fault {
    pub(crate) fn is_aimed_at(&self, aim: &Aim) -> bool {
        self.on.covers(aim.kind)
            && self.method.as_ref().is_none_or(|method| aim.method == method.as_str())
            && self.path_contains.as_ref().is_none_or(|text| aim.path.contains(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retrievals_are_aimed_at_together_or_by_level() {
        for (on, expected) in [
            (Route::Wado, [true, true, true, true]),
            (Route::WadoInstance, [false, false, true, false]),
            (Route::Stow, [false; 4]),
        ] {
            let levels = [Route::WadoStudy, Route::WadoSeries, Route::WadoInstance, Route::WadoMetadata];
            assert_eq!(levels.map(|kind| on.covers(kind)), expected, "{on:?}");
        }
    }

    #[test]
    fn json_has_one_form_and_mistakes_are_refused() {
        let read = serde_json::from_str::<Fault>;
        let fault = read(r#"{"on":"token","when":{"every":5},"effect":{"answer":{"status":503}}}"#).unwrap();
        assert_eq!((fault.when, fault.on), (When::Every(5), Route::Token));
        assert!(read(r#"{"on":"any","effect":{"hang":{}}}"#).is_ok());
        assert!(
            read(r#"{"on":"any","effect":{"cut_body":{"after_bytes":3}},"when":"until_cleared"}"#).is_ok()
        );
        let in_turn = read(
            r#"{"on":"wado_instance","method":"GET","effect":{"in_turn":[{"hang":{}},{"latency":{"milliseconds":1}}]}}"#,
        );
        assert_eq!(in_turn.unwrap().on, Route::WadoInstance);
        let refusal =
            read(r#"{"on":"any","effect":{"refuse_instance":{"sop_instance_uid":"1.2"}}}"#).unwrap();
        let Effect::RefuseInstance(refusal) = refusal.effect else { panic!("another effect") };
        assert_eq!(refusal.reason, 272);
        for wrong in [
            r#"{"on":"tokens","effect":{"hang":{}}}"#,
            r#"{"on":"any"}"#,
            r#"{"on":"any","effect":{"hang":{"x":1}}}"#,
            r#"{"on":"any","effect":{"hang":{}},"often":3}"#,
            r#"{"on":"any","effect":{"answer":{"code":503}}}"#,
            r#"{"on":"stow","effect":{"refuse_instance":{"reason":1}}}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
