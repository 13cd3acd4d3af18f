//! Numbers for Prometheus, named after its conventions. Orthanc never forgets a metric, so each has its labels from the
//! start, with zeros; names of accounts are the configuration's.

use std::time::Duration;

use dicomweb_gateway::{AccountCounts, Counts, Kind, Stage};
use google_credentials::{Health, HealthState};
use orthanc_sdk::{Host, MetricType};

use crate::status::{Live, LiveAccount, Named, Phase, State, Status, seconds_until};

/// The methods of DICOMweb (PS3.18); whatever else comes is `other`.
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "DELETE", "other"];
const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// Sets them all.
pub(crate) fn refresh(host: &Host, status: &Status) {
    let phase = status.phase();
    let live = match &phase {
        Phase::Running(live) => Some(&**live),
        Phase::Starting | Phase::Unusable(_) => None,
        // They stay as they were.
        Phase::Stopped => return,
    };
    let metrics = Metrics { host };
    let found: Vec<State> = status.accounts().iter().map(|named| status.state(named, &phase).0).collect();
    for state in State::ALL {
        let count = found.iter().filter(|other| **other == state).count();
        metrics.set("orthanc_gcp_accounts", &[("state", state.word())], count as u64);
    }
    for (named, state) in status.accounts().iter().zip(found) {
        metrics.of_account(named, state, live);
    }
    let counts = live.and_then(|live| live.gateway.as_ref()).map(dicomweb_gateway::Gateway::counts);
    let counts = counts.unwrap_or_default();
    for named in status.accounts() {
        metrics.of_transfers(&named.name, counts.accounts.get(&named.name));
    }
    metrics.of_gateway(live, &counts);
}

struct Metrics<'a> {
    host: &'a Host,
}

impl Metrics<'_> {
    fn of_account(&self, named: &Named, state: State, live: Option<&Live>) {
        let account = ("account", named.name.as_str());
        let is_up = matches!(state, State::Ok | State::Expiring);
        self.set("orthanc_gcp_account_up", &[account], u64::from(is_up));
        // Without a credential there is nothing to be told of tokens.
        if named.usable.as_ref().is_none_or(|usable| usable.source.is_none()) {
            return;
        }
        let health = live.and_then(|live| live.account(&named.name)).map(LiveAccount::health);
        let time_left = |health: &Health| {
            let now = live?.world.now();
            let is_good = matches!(health.state, HealthState::Ok | HealthState::Expiring);
            health.expires_at.filter(|_| is_good).map(|end| seconds_until(end, now))
        };
        let time_left = health.as_ref().and_then(time_left).unwrap_or(0).max(0);
        self.set("orthanc_gcp_token_time_to_expiry_seconds", &[account], time_left.unsigned_abs());
        let of = |count: fn(&Health) -> u64| health.as_ref().map_or(0, count);
        self.set("orthanc_gcp_token_refreshes_total", &[account], of(|health| health.refreshes));
        for (kind, count) in [
            ("transient", of(|health| health.failures.transient)),
            ("needs_person", of(|health| health.failures.needs_person)),
            ("configuration", of(|health| health.failures.configuration)),
        ] {
            self.set("orthanc_gcp_token_failures_total", &[account, ("kind", kind)], count);
        }
        let took = health.as_ref().map_or(Duration::ZERO, |health| health.attempts_took);
        let name = labelled("orthanc_gcp_token_request_duration_seconds_sum", &[account]);
        self.host.set_metric(&name, took.as_secs_f32(), MetricType::Default);
        let count = of(Health::attempts);
        self.set("orthanc_gcp_token_request_duration_seconds_count", &[account], count);
    }

    fn of_transfers(&self, name: &str, counts: Option<&AccountCounts>) {
        let none = AccountCounts::default();
        let counts = counts.unwrap_or(&none);
        for (outcome, count) in [
            ("stored", counts.instances_stored),
            ("failed", counts.instances_failed),
            ("duplicate", counts.instances_duplicate),
            ("retrieved", counts.instances_retrieved),
        ] {
            let labels = [("account", name), ("outcome", outcome)];
            self.set("orthanc_gcp_gateway_instances_total", &labels, count);
        }
        for (kind, kind_word) in [(Kind::Store, "store"), (Kind::Retrieve, "retrieve")] {
            for (stage, stage_word) in
                [(Stage::Succeeded, "succeeded"), (Stage::Failed, "failed"), (Stage::Cancelled, "cancelled")]
            {
                let count = counts.transfers.get(&(kind, stage)).copied().unwrap_or(0);
                let labels = [("account", name), ("kind", kind_word), ("outcome", stage_word)];
                self.set("orthanc_gcp_gateway_transfers_total", &labels, count);
            }
        }
    }

    fn of_gateway(&self, live: Option<&Live>, counts: &Counts) {
        let gateway = live.and_then(|live| live.gateway.as_ref());
        for method in METHODS {
            for class in CLASSES {
                let labels = [("method", method), ("status", class)];
                self.set("orthanc_gcp_gateway_requests_total", &labels, requests(counts, method, class));
            }
        }
        self.set("orthanc_gcp_gateway_retries_total", &[], counts.retries);
        self.set("orthanc_gcp_gateway_connections_refused_total", &[], counts.connections_refused);
        self.set("orthanc_gcp_gateway_sent_bytes_total", &[], counts.bytes_sent);
        self.set("orthanc_gcp_gateway_received_bytes_total", &[], counts.bytes_received);
        let in_flight = gateway.map_or(0, dicomweb_gateway::Gateway::transfers_under_way);
        self.set("orthanc_gcp_gateway_transfers_in_flight", &[], in_flight as u64);
        let memory = gateway.map_or(0, dicomweb_gateway::Gateway::memory_in_use);
        self.set("orthanc_gcp_gateway_memory_bytes", &[], memory as u64);
    }

    fn set(&self, name: &str, labels: &[(&str, &str)], value: u64) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        self.host.set_integer_metric(&labelled(name, labels), value, MetricType::Default);
    }
}

/// The requests that were answered, of one method and one class of status.
fn requests(counts: &Counts, method: &str, class: &str) -> u64 {
    let is_of_method = |found: &str| found == method || (method == "other" && !METHODS.contains(&found));
    let is_of_class = |status: u16| class.starts_with(&(status / 100).to_string());
    let of =
        counts.requests.iter().filter(|((found, status), _)| is_of_method(found) && is_of_class(*status));
    of.map(|(_, count)| count).sum()
}

/// A name with labels, in Prometheus' text format.
fn labelled(name: &str, labels: &[(&str, &str)]) -> String {
    if labels.is_empty() {
        return name.to_owned();
    }
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let labels: Vec<String> =
        labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
    format!("{name}{{{}}}", labels.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let labels = [("account", "a \"b\" \\ c"), ("kind", "transient")];
        assert_eq!(labelled("x_total", &labels), r#"x_total{account="a \"b\" \\ c",kind="transient"}"#);
        assert_eq!(labelled("x_total", &[]), "x_total");
    }

    #[test]
    fn every_request_is_counted_once() {
        let mut counts = Counts::default();
        let answered =
            [("GET", 200), ("GET", 204), ("GET", 404), ("POST", 503), ("HEAD", 200), ("PATCH", 400)];
        for (method, status) in answered {
            counts.requests.insert((method.to_owned(), status), 1);
        }
        assert_eq!(requests(&counts, "GET", "2xx"), 2);
        assert_eq!(requests(&counts, "other", "2xx"), 1);
        let all = METHODS.iter().flat_map(|method| CLASSES.iter().map(move |class| (method, class)));
        assert_eq!(all.map(|(method, class)| requests(&counts, method, class)).sum::<u64>(), 6);
    }
}
