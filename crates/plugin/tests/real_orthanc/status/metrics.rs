//! The metrics, and what `docs/monitoring` makes of them.

use std::collections::{BTreeMap, BTreeSet};

use orthanc_testbed::Orthanc;
use serde_json::{Value, json};

use super::start_troubled;
use crate::{gateway, stage::Stage};

const PREFIX: &str = "orthanc_gcp_";
const DASHBOARD: &str = include_str!("../../../../../docs/monitoring/dashboard.json");
const ALERTS: &str = include_str!("../../../../../docs/monitoring/alerts.yml");
const TABLE: &str = include_str!("../../../../../docs/monitoring/README.md");

type Labels = BTreeMap<String, String>;

/// Our metrics, as Prometheus would see them.
fn scrape(orthanc: &Orthanc) -> Vec<(String, Labels, f64)> {
    let text = orthanc.get("/tools/metrics-prometheus").unwrap().text();
    let ours = text.lines().filter(|line| line.starts_with(PREFIX));
    ours.map(|line| {
        let mut parts = line.rsplitn(3, ' ');
        let time: u64 = parts.next().unwrap().parse().unwrap();
        assert!(time > 0);
        let value = parts.next().unwrap().parse().unwrap();
        let name = parts.next().unwrap();
        let (name, labels) = name.split_once('{').unwrap_or((name, "}"));
        (name.to_owned(), matchers(labels.strip_suffix('}').unwrap()), value)
    })
    .collect()
}

/// `a="x",b=~"y"`, by label; no value holds a comma.
fn matchers(text: &str) -> Labels {
    let parts = text.split(',').filter(|part| !part.is_empty());
    let pair = |part: &str| {
        let (name, value) = part.split_once('=').unwrap();
        (name.trim().to_owned(), value.trim_start_matches('~').trim_matches('"').to_owned())
    };
    parts.map(pair).collect()
}

#[track_caller]
fn value(metrics: &[(String, Labels, f64)], name: &str, labels: &str) -> f64 {
    let wanted = matchers(labels);
    let found = metrics.iter().find(|(found, has, _)| found == name && *has == wanted);
    found.unwrap_or_else(|| panic!("{name}{{{labels}}} is not there: {metrics:#?}")).2
}

/// A small number that counts something.
#[track_caller]
fn count(metrics: &[(String, Labels, f64)], name: &str, labels: &str) -> i64 {
    // Without a fraction it is printed as an integer.
    value(metrics, name, labels).to_string().parse().unwrap()
}

/// A metric with the labels that are asked of it, out of an expression of Prometheus' language.
fn selectors(expression: &str) -> Vec<(String, Labels)> {
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(at) = rest.find(PREFIX) {
        (_, rest) = rest.split_at(at);
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let labels = after.strip_prefix('{').and_then(|after| after.split_once('}'));
        found.push((name.to_owned(), labels.map(|(labels, _)| matchers(labels)).unwrap_or_default()));
        rest = after;
    }
    assert!(!found.is_empty(), "{expression} asks for nothing of ours");
    found
}

/// The labels in `by (…)`.
fn grouped_by(expression: &str) -> BTreeSet<String> {
    let groups = expression.split("by (").skip(1).filter_map(|after| after.split(')').next());
    groups.flat_map(|group| group.split(',')).map(|label| label.trim().to_owned()).collect()
}

/// Every expression of the dashboard and of the alert rules.
fn expressions() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut all = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let targets = panel["targets"].as_array().unwrap();
        all.extend(targets.iter().map(|target| target["expr"].as_str().unwrap().to_owned()));
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        all.extend(variable["definition"].as_str().map(str::to_owned));
    }
    all.extend(alerts().into_values().map(str::to_owned));
    assert!(all.len() > 15, "{all:#?}");
    all
}

/// The expression of each alert rule, by name.
fn alerts() -> BTreeMap<&'static str, &'static str> {
    let of = |key: &str| -> Vec<&str> {
        ALERTS.lines().filter_map(|line| line.trim().strip_prefix(key)).collect()
    };
    let (names, rules) = (of("- alert: "), of("expr: "));
    assert_eq!((names.len(), rules.len()), (5, 5), "{names:#?} {rules:#?}");
    names.into_iter().zip(rules).collect()
}

/// What an alert rule fires for: the labels of what fulfils its comparison. An increase is taken since the start, where
/// counters are 0.
fn fires_for(alert: &str, metrics: &[(String, Labels, f64)]) -> Vec<Labels> {
    let expression = alerts()[alert];
    let [(name, wanted)] = &selectors(expression)[..] else { panic!("{expression} is not understood") };
    let series: Vec<_> = metrics
        .iter()
        .filter(|(found, labels, _)| {
            found == name && wanted.iter().all(|(label, value)| labels.get(label) == Some(value))
        })
        .collect();
    if expression.starts_with("absent(") {
        return if series.is_empty() { vec![wanted.clone()] } else { Vec::new() };
    }
    let [.., operator, limit] = expression.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{expression} is not understood")
    };
    let limit: f64 = limit.parse().unwrap();
    let is_met = |value: f64| match operator {
        "<" => value < limit,
        ">" => value > limit,
        "==" => value.total_cmp(&limit).is_eq(),
        _ => panic!("{operator} is not understood"),
    };
    series.into_iter().filter(|(.., value)| is_met(*value)).map(|(_, labels, _)| labels.clone()).collect()
}

#[test]
fn alerts_fire_for_whom_they_are_meant() {
    let described = start_troubled();
    let mut metrics = scrape(&described.stage.orthanc);
    described.stage.stop();
    let accounts = |alert: &str, metrics: &[_]| -> Vec<String> {
        fires_for(alert, metrics).into_iter().map(|mut labels| labels.remove("account").unwrap()).collect()
    };
    let mut failing = accounts("OrthancGcpAccountFailing", &metrics);
    failing.sort();
    assert_eq!(failing, ["incomplete", "no file", "open", "refused"]);
    // There is nothing yet to be told of uploads, and somebody tells it.
    for alert in ["OrthancGcpUploadFailures", "OrthancGcpTransferFailures", "OrthancGcpSilent"] {
        assert_eq!(fires_for(alert, &metrics), [], "{alert}");
    }
    assert_eq!(fires_for("OrthancGcpSilent", &[]).len(), 1);

    // A token that is not renewed: from some minutes before its end on, and when it is over, until there is another.
    for (left, is_told) in [(3600.0, false), (225.0, false), (179.0, true), (0.0, true)] {
        for (name, labels, value) in &mut metrics {
            if name == "orthanc_gcp_token_time_to_expiry_seconds" && labels["account"] == "good" {
                *value = left;
            }
        }
        let expiring = accounts("OrthancGcpTokenExpiring", &metrics);
        assert_eq!(expiring.contains(&"good".to_owned()), is_told, "{left} s: {expiring:?}");
        assert!(expiring.contains(&"refused".to_owned()), "{expiring:?}");
    }
    let mut failed = 0;
    for (name, labels, value) in &mut metrics {
        let is_of_gateway = ["instances_total", "transfers_total"].iter().any(|end| name.ends_with(end));
        if is_of_gateway && labels["outcome"] == "failed" && labels["account"] == "good" {
            (*value, failed) = (2.0, failed + 1);
        }
    }
    assert_eq!(failed, 3, "instances, and transfers of both kinds");
    // An administrator learns from the alert itself which account it is about.
    assert_eq!(accounts("OrthancGcpUploadFailures", &metrics), ["good"]);
    assert_eq!(accounts("OrthancGcpTransferFailures", &metrics), ["good"; 2]);
}

#[test]
fn what_the_documents_ask_for_is_there() {
    let stage: Stage = gateway::ready();
    let metrics = scrape(&stage.orthanc);
    let fits = |labels: &Labels, wanted: &Labels| {
        wanted.iter().all(|(label, values)| {
            let has = labels.get(label);
            // A variable of the dashboard stands for any.
            has.is_some_and(|has| values.starts_with('$') || values.split('|').any(|value| value == has))
        })
    };
    for expression in expressions() {
        for (name, wanted) in selectors(&expression) {
            let found: Vec<_> = metrics.iter().filter(|(found, ..)| *found == name).collect();
            assert!(!found.is_empty(), "{expression}: there is no {name}");
            for (label, values) in &wanted {
                for value in values.split('|') {
                    let one = Labels::from([(label.clone(), value.to_owned())]);
                    let is_there = found.iter().any(|(_, labels, _)| fits(labels, &one));
                    assert!(is_there, "{expression}: there is no {name}{one:?}");
                }
            }
            for label in grouped_by(&expression) {
                assert!(
                    found.iter().all(|(_, labels, _)| labels.contains_key(&label)),
                    "{expression}: {label}"
                );
            }
        }
    }
    let shown: BTreeSet<String> =
        expressions().iter().flat_map(|one| selectors(one)).map(|(name, _)| name).collect();
    let there: BTreeSet<String> = metrics.iter().map(|(name, ..)| name.clone()).collect();
    assert_eq!(there, shown, "what the dashboard shows");

    let rows = TABLE.lines().filter_map(|line| line.strip_prefix("| `"));
    let rows: Vec<Vec<&str>> = rows.map(|row| row.split('|').collect()).collect();
    let documented: BTreeSet<String> =
        rows.iter().map(|row| row[0].trim_matches(['`', ' ']).to_owned()).collect();
    assert_eq!(there, documented, "what the table lists");
    for row in rows {
        let name = row[0].trim_matches(['`', ' ']);
        // Prometheus' conventions: counters end in `_total`, or are the two of a summary.
        let is_counter = ["_total", "_sum", "_count"].iter().any(|ending| name.ends_with(ending));
        assert_eq!(row[1].trim() == "counter", is_counter, "{name}");
        let words: BTreeSet<&str> = row[2].split('`').skip(1).step_by(2).collect();
        let mut used = BTreeSet::new();
        for (_, labels, _) in metrics.iter().filter(|(found, ..)| found == name) {
            for (label, value) in labels {
                used.insert(label.as_str());
                if label != "account" {
                    used.insert(value.as_str());
                }
            }
        }
        assert_eq!(used, words, "the labels of {name}");
    }
    stage.stop();
}

#[test]
fn what_happens_is_counted() {
    let described = start_troubled();
    let metrics = scrape(&described.stage.orthanc);
    let accounts = |state: &str| count(&metrics, "orthanc_gcp_accounts", &format!("state=\"{state}\""));
    assert_eq!(["ok", "failing", "misconfigured", "expiring", "starting"].map(accounts), [1, 3, 1, 0, 0]);
    let of = |name: &str, account: &str| count(&metrics, name, &format!("account=\"{account}\""));
    let up = |account| of("orthanc_gcp_account_up", account);
    assert_eq!(["good", "open", "refused", "incomplete", "no file"].map(up), [1, 0, 0, 0, 0]);
    let left = of("orthanc_gcp_token_time_to_expiry_seconds", "good");
    assert!(left > 3000 && left <= 3600, "{left}");
    assert_eq!(of("orthanc_gcp_token_time_to_expiry_seconds", "refused"), 0);
    assert_eq!(of("orthanc_gcp_token_refreshes_total", "good"), 1);
    assert_eq!(of("orthanc_gcp_token_request_duration_seconds_count", "good"), 1);
    let took = value(&metrics, "orthanc_gcp_token_request_duration_seconds_sum", "account=\"good\"");
    assert!(took > 0.0);
    let failures =
        value(&metrics, "orthanc_gcp_token_failures_total", "account=\"refused\",kind=\"needs_person\"");
    assert!(failures >= 1.0);
    described.stage.stop();
}

#[test]
fn what_goes_through_the_gateway_is_counted() {
    let stage = gateway::ready();
    let before = scrape(&stage.orthanc);
    let searches =
        |metrics: &[_]| count(metrics, "orthanc_gcp_gateway_requests_total", "method=\"GET\",status=\"2xx\"");
    assert_eq!(stage.search("g"), (200, json!([])));
    let after = scrape(&stage.orthanc);
    assert_eq!(searches(&after), searches(&before) + 1);
    let received = value(&after, "orthanc_gcp_gateway_received_bytes_total", "");
    assert!(received > value(&before, "orthanc_gcp_gateway_received_bytes_total", ""));
    // A label set that is there once stays: nothing appears later.
    let names = |metrics: &[(String, Labels, f64)]| -> Vec<_> {
        metrics.iter().map(|(name, labels, _)| (name.clone(), labels.clone())).collect()
    };
    assert_eq!(names(&before), names(&after));
    stage.stop();
}
