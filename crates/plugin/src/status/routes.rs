//! The routes below `/google-cloud-platform/`, which `docs/openapi.json` describes.

use std::{sync::Arc, time::Duration};

use orthanc_gcp_doctor::Writing;
use orthanc_sdk::{Method, RestReply, RestRequest};
use serde_json::{Value, json};

use super::{
    Live, LiveAccount, Named, Phase, Status,
    jobs::{Job, MOST_WAIT, NotDone},
    json::mistake,
    origin::is_foreign,
    transfers,
};
use crate::page;

/// Everything of ours. What there is below is found out here, so that whatever there is not gets a sentence of ours, too.
pub(crate) const ROUTE: &str = "/google-cloud-platform(/.*)?";
const ROOT: &str = "/google-cloud-platform";
/// Those who wait are mostly told within it, unless Google hangs.
const RETRY_AFTER: u32 = 5;
/// The same document as in the repository.
const OPENAPI: &str = include_str!("../../../../docs/openapi.json");

/// Answers a request for [`ROUTE`].
pub(crate) fn answer(status: &Status, request: &RestRequest<'_>) -> RestReply {
    let path = request.path.strip_prefix(ROOT).unwrap_or(&request.path);
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if let Some(reply) = page::answer(&parts, request) {
        return reply;
    }
    let outcome = match (parts.as_slice(), request.method) {
        (["openapi.json"], Method::Get) => return RestReply::json(200, OPENAPI),
        (["accounts"], Method::Get) => accounts(status),
        (["accounts", name], Method::Get) => account(status, name),
        (["transfers"], Method::Get) => transfers(status),
        (["accounts", _, "refresh" | "check"], Method::Post) if is_foreign(request) => Err(Refusal::new(
            403,
            "a web page of another site has asked for this",
            "use Orthanc's own page, or a program; behind a reverse proxy, let that pass on the name that browsers use (nginx: `proxy_set_header Host $host;`)",
        )),
        (["accounts", name, "refresh"], Method::Post) => refresh(status, name),
        (["accounts", name, "check"], Method::Post) => check(status, name, request.body),
        (["openapi.json" | "accounts" | "transfers"] | ["accounts", _], _) => {
            return RestReply::method_not_allowed("GET");
        }
        (["accounts", _, "refresh" | "check"], _) => return RestReply::method_not_allowed("POST"),
        _ => Err(Refusal::new(
            404,
            format!("nothing answers at {}", request.path),
            format!("{ROOT}/openapi.json tells what there is"),
        )),
    };
    let (code, body, retry_after) = match outcome {
        Ok(answer) => (200, answer, None),
        Err(refusal) => (refusal.status, refusal.json(), refusal.retry_after),
    };
    // States change from moment to moment.
    let reply = RestReply::json(code, body.to_string()).with_header("Cache-Control", "no-store");
    match retry_after {
        Some(seconds) => reply.with_header("Retry-After", seconds.to_string()),
        None => reply,
    }
}

/// Why there is no answer, with the remedy.
struct Refusal {
    status: u16,
    message: String,
    remedy: String,
    /// In how many seconds it may be otherwise.
    retry_after: Option<u32>,
}

impl Refusal {
    fn new(status: u16, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { status, message: message.into(), remedy: remedy.into(), retry_after: None }
    }

    fn stopping() -> Self {
        Self::new(503, "Orthanc is stopping", "ask again when it runs")
    }

    fn too_many_writes(wait: Duration) -> Self {
        let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
        let message = "this account was checked with an instance too often in the last minute";
        let remedy = format!("try again in {seconds} s, or check without `Write`");
        // Not 429, which Orthanc 1.10.1 sends as 400.
        Self { retry_after: Some(seconds), ..Self::new(503, message, remedy) }
    }

    fn not_done(why: NotDone, status: &Status) -> Self {
        match why {
            NotDone::Busy => {
                let message = format!("{MOST_WAIT} requests for a token or a check are waiting already");
                let remedy = format!("ask again in {RETRY_AFTER} s");
                Self { retry_after: Some(RETRY_AFTER), ..Self::new(503, message, remedy) }
            }
            NotDone::GivenUp => phase(status).err().unwrap_or_else(|| {
                let remedy = "Orthanc's log says where: please report it";
                Self::new(500, "a defect in this plugin has ended the request", remedy)
            }),
        }
    }

    fn json(&self) -> Value {
        json!({"status": self.status, "message": self.message, "remedy": self.remedy})
    }
}

fn accounts(status: &Status) -> Result<Value, Refusal> {
    let phase = phase(status)?;
    let accounts: Vec<Value> =
        status.accounts.iter().map(|named| status.account_json(named, &phase)).collect();
    let mistakes: Vec<Value> = status.findings.iter().map(mistake).collect();
    Ok(json!({"Accounts": accounts, "Mistakes": mistakes}))
}

fn account(status: &Status, name: &str) -> Result<Value, Refusal> {
    Ok(status.account_json(find(status, name)?, &phase(status)?))
}

fn transfers(status: &Status) -> Result<Value, Refusal> {
    Ok(match phase(status)? {
        Phase::Running(live) => transfers::transfers(&live),
        _ => transfers::no_gateway(),
    })
}

/// A new token. Ends when that is there, when it is known why it is not, or when Orthanc stops.
fn refresh(status: &Status, name: &str) -> Result<Value, Refusal> {
    let named = find(status, name)?;
    let (live, account) = usable(status, named)?;
    if account.account.source.is_none() {
        return Err(Refusal::new(
            409,
            format!("{} has no credential: its AccessToken is \"none\"", account.account.title()),
            "name a credential instead of AccessToken, if it needs tokens",
        ));
    }
    match live.jobs.ask(|done| Job::Refresh(account, done)) {
        Ok(Ok(())) => Ok(status.account_json(named, &phase(status)?)),
        Ok(Err(failure)) => Err(Refusal::new(502, failure.cause, failure.remedy)),
        Err(why) => Err(Refusal::not_done(why, status)),
    }
}

/// An examination. Ends with it, or when Orthanc stops.
fn check(status: &Status, name: &str, body: &[u8]) -> Result<Value, Refusal> {
    let writing = writing(body)?;
    let named = find(status, name)?;
    let (live, account) = usable(status, named)?;
    if writing == Writing::OneInstance {
        account.checks.admit_write(live.world.now()).map_err(Refusal::too_many_writes)?;
    }
    live.jobs.ask(|done| Job::Check(account, writing, done)).map_err(|why| Refusal::not_done(why, status))
}

/// The body of a check: nothing, or `{"Write": true}`.
fn writing(body: &[u8]) -> Result<Writing, Refusal> {
    if body.trim_ascii().is_empty() {
        return Ok(Writing::Nothing);
    }
    let wrong = || {
        let remedy = "send none, {}, or {\"Write\": true} to have an instance stored, retrieved and deleted";
        Refusal::new(400, "the body is not what a check takes", remedy)
    };
    let Ok(Value::Object(body)) = serde_json::from_slice(body) else { return Err(wrong()) };
    if body.keys().any(|key| key != "Write") {
        return Err(wrong());
    }
    match body.get("Write") {
        None | Some(Value::Bool(false)) => Ok(Writing::Nothing),
        Some(Value::Bool(true)) => Ok(Writing::OneInstance),
        Some(_) => Err(wrong()),
    }
}

/// What goes on, unless that is nothing any more.
fn phase(status: &Status) -> Result<Phase, Refusal> {
    match status.phase() {
        Phase::Stopped => Err(Refusal::stopping()),
        phase => Ok(phase),
    }
}

fn find<'a>(status: &'a Status, name: &str) -> Result<&'a Named, Refusal> {
    let exact = |name: &str| status.accounts.iter().find(|named| named.name == name);
    // Some Orthancs make a space of a plus.
    if let Some(named) = exact(name).or_else(|| exact(&name.replace(' ', "+"))) {
        return Ok(named);
    }
    let likeness = |named: &Named| strsim::jaro_winkler(&named.name.to_lowercase(), &name.to_lowercase());
    let nearest = status.accounts.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let remedy = match nearest.filter(|named| likeness(named) > 0.7) {
        Some(named) => format!("did you mean \"{}\"? {ROOT}/accounts lists them all", named.name),
        None => format!("{ROOT}/accounts lists those there are"),
    };
    Err(Refusal::new(404, format!("there is no account \"{name}\""), remedy))
}

/// An account that something can be done with.
fn usable(status: &Status, named: &Named) -> Result<(Arc<Live>, Arc<LiveAccount>), Refusal> {
    if named.usable.is_none() {
        return Err(Refusal::new(
            409,
            format!("the account \"{}\" cannot be used: its configuration is wrong", named.name),
            format!("correct what {ROOT}/accounts lists as its Mistakes, and restart Orthanc"),
        ));
    }
    match phase(status)? {
        Phase::Running(live) => {
            let account = live.accounts.iter().find(|live| live.account.name == named.name).cloned();
            let account = account.ok_or_else(|| Refusal::new(503, "Orthanc is starting", "ask again"))?;
            Ok((live, account))
        }
        Phase::Unusable(trouble) => Err(Refusal::new(
            409,
            format!("no account can be used: {}", trouble.words),
            "correct that, and restart Orthanc",
        )),
        Phase::Starting => Err(Refusal::new(503, "Orthanc is starting", "ask again in some seconds")),
        Phase::Stopped => Err(Refusal::stopping()),
    }
}

#[cfg(test)]
mod tests {
    use google_credentials::{Outside, token_channel};

    use super::*;
    use crate::{
        gateway::Transport,
        status::{History, jobs},
    };

    /// What a check is answered with when it is given up.
    fn given_up(phase_now: impl FnOnce(Arc<Live>) -> Phase) -> Refusal {
        let document = r#"{"GoogleCloudPlatform": {"Accounts": {"a": {
            "Project": "p", "Location": "l", "Dataset": "d", "DicomStore": "s", "AccessToken": "none"
        }}}}"#;
        let (configuration, findings) = orthanc_gcp_configuration::read(document);
        let now = std::time::UNIX_EPOCH;
        let status = Status::new(&configuration, &findings, now);
        let account = configuration.accounts.into_iter().next().unwrap();
        let account = LiveAccount::new(account, Transport::Direct, token_channel(now).1, now);
        let (jobs, mut asked) = jobs();
        let live = Arc::new(Live {
            world: Arc::new(Outside::new(configuration.http)),
            accounts: vec![Arc::new(account)],
            gateway: None,
            history: Arc::<History>::default(),
            jobs,
        });
        status.enter(Phase::Running(Arc::clone(&live)));
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| check(&status, "a", b""));
            let job = asked.next();
            status.enter(phase_now(live));
            drop(job);
            asking.join().unwrap().err().unwrap()
        })
    }

    #[test]
    fn what_is_given_up_while_orthanc_runs_is_a_defect() {
        let refusal = given_up(Phase::Running);
        assert_eq!((refusal.status, &refusal.json()["status"]), (500, &json!(500)));
        assert_eq!(given_up(|_| Phase::Stopped).status, 503);
    }
}
