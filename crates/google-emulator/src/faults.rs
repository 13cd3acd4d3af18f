//! Misbehaviour on request.

use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

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
    /// Retrieve, metadata included (PS3.18 section 10.4).
    Wado,
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
    /// The connection is accepted and nothing is ever sent or read, not even for TLS. Counts connections, not requests.
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
        Self { on, path_contains: None, when: When::default(), effect }
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

/// The faults in force.
#[derive(Default)]
pub struct Faults {
    set: Mutex<Vec<Counted>>,
}

struct Counted {
    fault: Fault,
    met: u64,
}

impl Faults {
    /// Sets one more fault.
    pub fn add(&self, fault: Fault) {
        self.lock().push(Counted { fault, met: 0 });
    }

    /// Takes all faults away. Requests already hanging go on hanging.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// The faults that can still strike.
    pub fn list(&self) -> Vec<Fault> {
        self.lock().iter().map(|counted| counted.fault.clone()).collect()
    }

    /// The effects on a request of the kind `route` to `path`, in the order the faults were set.
    pub(crate) fn strike(&self, route: Route, path: &str) -> Vec<Effect> {
        self.advance(|fault| {
            fault.effect != Effect::HangBeforeTls {}
                && (fault.on == Route::Any || fault.on == route)
                && fault.path_contains.as_ref().is_none_or(|text| path.contains(text))
        })
    }

    /// Whether a connection just accepted is to hang.
    pub(crate) fn strike_connection(&self) -> bool {
        !self.advance(|fault| fault.effect == Effect::HangBeforeTls {}).is_empty()
    }

    fn advance(&self, aimed_at: impl Fn(&Fault) -> bool) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.lock().retain_mut(|counted| {
            if !aimed_at(&counted.fault) {
                return true;
            }
            counted.met += 1;
            let (strikes, remains) = match counted.fault.when {
                When::Times(count) => (counted.met <= count, counted.met < count),
                When::Every(n) => (n > 0 && counted.met % n == 0, true),
                When::UntilCleared => (true, true),
            };
            if strikes {
                effects.push(counted.fault.effect.clone());
            }
            remains
        });
        effects
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Counted>> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strikes(fault: Fault, requests: usize) -> Vec<bool> {
        let faults = Faults::default();
        faults.add(fault);
        (0..requests).map(|_| !faults.strike(Route::Stow, "/v1/a").is_empty()).collect()
    }

    #[test]
    fn each_schedule_strikes_when_it_says() {
        let fault = || Fault::hang(Route::Stow);
        assert_eq!(strikes(fault(), 3), [true, false, false]);
        assert_eq!(strikes(fault().times(2), 3), [true, true, false]);
        assert_eq!(strikes(fault().every(2), 4), [false, true, false, true]);
        assert_eq!(strikes(fault().until_cleared(), 2), [true, true]);
        assert_eq!(strikes(Fault::hang(Route::Any), 2), [true, false]);
        assert_eq!(strikes(Fault::hang(Route::Wado).until_cleared(), 1), [false]);
        assert_eq!(strikes(fault().on_path("/b"), 1), [false]);
        assert_eq!(strikes(fault().on_path("/a"), 1), [true]);
        assert_eq!(strikes(Fault::hang_before_tls(), 1), [false]);
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
        for wrong in [
            r#"{"on":"tokens","effect":{"hang":{}}}"#,
            r#"{"on":"any"}"#,
            r#"{"on":"any","effect":{"hang":{"x":1}}}"#,
            r#"{"on":"any","effect":{"hang":{}},"often":3}"#,
            r#"{"on":"any","effect":{"answer":{"code":503}}}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
