//! The alert rules and the dashboard of `packaging/monitoring`, and the expressions of the manual: they are of metrics that
//! ebb serves, and Prometheus can read them.
//!
//! Owns: no metric. What is served is taken from the page that `host/status` is compared with word for word.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use regex::Regex;
use serde_json::Value;

use crate::harness::promtool::promtool;

const RULES: &str = "packaging/monitoring/alerts.yml";
const RULES_TEST: &str = "packaging/monitoring/alerts_test.yml";

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect(name)
}

/// Names of metrics, with those that a histogram has instead of its own.
fn served() -> BTreeSet<String> {
    let page = file("host/status/expected/idle.prom");
    let kinds = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let names = kinds.flat_map(|(name, kind)| match kind {
        "histogram" => ["_bucket", "_sum", "_count"].map(|part| format!("{name}{part}")).to_vec(),
        _ => vec![name.to_owned()],
    });
    names.collect()
}

/// The metrics that an expression names.
fn named(expression: &str) -> Vec<String> {
    let metric = Regex::new(r"\b(?:ebb|core|stage|source|target|apply)_[a-z_]+").expect("a regular expression");
    metric.find_iter(expression).map(|found| found.as_str().to_owned()).collect()
}

fn check(place: &str, expression: &str, served: &BTreeSet<String>) {
    let names = named(expression);
    assert!(!names.is_empty() || expression.contains("up{"), "{place} names no metric: {expression}");
    for name in names {
        assert!(served.contains(&name), "{place} names {name}, which nobody serves");
    }
}

/// Prometheus reads each of them.
fn parse(expressions: &[String]) {
    let mut rules = "groups:\n- name: all\n  rules:\n".to_owned();
    for (at, expression) in expressions.iter().enumerate() {
        let _ = writeln!(rules, "  - record: e{at}\n    expr: {}", Value::from(expression.as_str()));
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("rules.yml");
    fs::write(&path, rules).expect("a file");
    promtool(&["check", "rules", &path.display().to_string()], "");
}

/// Of a YAML file of this project, in which each stands on a line of its own.
fn values(text: &str, key: &str) -> Vec<String> {
    let key = format!("{key}: ");
    let lines = text.lines().filter_map(|line| line.trim_start_matches([' ', '-']).strip_prefix(&key));
    lines.map(|value| value.trim_matches('"').to_owned()).collect()
}

#[test]
fn every_alert_is_of_what_is_served_and_has_a_page_and_both_tests() {
    promtool(&["check", "rules", RULES], "");
    promtool(&["test", "rules", RULES_TEST], "");
    let (rules, tests, page, served) = (file(RULES), file(RULES_TEST), file("docs/alerts.md"), served());
    values(&rules, "expr").iter().for_each(|expression| check(RULES, expression, &served));
    let alerts = values(&rules, "alert");
    assert!(alerts.len() > 10);
    let pages: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(pages, alerts, "docs/alerts.md has a section for each alert, in their order");
    let links: Vec<_> = alerts.iter().map(|name| runbook(name)).collect();
    assert_eq!(values(&rules, "runbook_url"), links);
    for name in alerts {
        let of_alert = tests.split("  - interval: ").filter(|test| test.contains(&format!("alertname: {name}\n")));
        let (quiet, fires): (Vec<_>, Vec<_>) = of_alert.partition(|test| test.contains("exp_alerts: []"));
        assert!(!quiet.is_empty() && !fires.is_empty(), "{RULES_TEST} tests {name} in one direction only");
    }
}

/// Where the Debian package puts the page.
fn runbook(alert: &str) -> String {
    format!("file:///usr/share/doc/ebb/docs/alerts.md#{}", alert.to_lowercase())
}

#[test]
fn a_metric_that_nobody_serves_is_found() {
    let served = served();
    assert!(served.contains("ebb_request_duration_seconds_bucket") && !served.contains("ebb_request_duration_seconds"));
    assert_eq!(named("sum(rate(ebb_a_total{x=\"y\"}[5m])) / apply_b"), ["ebb_a_total", "apply_b"]);
    let is_found = std::panic::catch_unwind(|| check("a test", "rate(ebb_nonsense_total[5m])", &served));
    assert!(is_found.is_err());
}

#[test]
fn every_expression_of_the_manual_can_be_asked() {
    let (page, served) = (file("docs/monitoring.md"), served());
    let section = page.split("\n## Metrics\n").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("metrics");
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let row = Regex::new(r"^\| `([a-z_]+)` \|.*\| `([^`]+)` \|$").expect("a regular expression");
    let expressions: Vec<String> = rows
        .map(|line| {
            let found = row.captures(line).unwrap_or_else(|| panic!("no expression ends {line}"));
            let (metric, expression) = (&found[1], &found[2]);
            check("docs/monitoring.md", expression, &served);
            assert!(named(expression).iter().any(|name| name.starts_with(metric)), "{metric} is not in {expression}");
            expression.to_owned()
        })
        .collect();
    assert!(expressions.len() > 30);
    parse(&expressions);
}

#[test]
fn the_dashboard_asks_for_what_is_served() {
    let dashboard: Value = serde_json::from_str(&file("packaging/monitoring/dashboard.json")).expect("JSON");
    let served = served();
    for field in ["title", "uid", "schemaVersion", "panels", "templating", "time"] {
        assert!(!dashboard[field].is_null(), "the dashboard has no {field}");
    }
    let variables = dashboard["templating"]["list"].as_array().expect("variables");
    let variables: BTreeSet<&str> = variables.iter().filter_map(|variable| variable["name"].as_str()).collect();
    assert_eq!(variables, BTreeSet::from(["datasource", "instance"]));
    let panels = dashboard["panels"].as_array().expect("panels");
    let (mut ids, mut taken, mut expressions) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    for panel in panels {
        let title = panel["title"].as_str().expect("a title");
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{title} has the id of another panel");
        let grid = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().expect("a place"));
        let [x, y, w, h] = grid;
        assert!(x + w <= 24 && w > 0 && h > 0, "{title} does not fit: {grid:?}");
        for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(place), "{title} lies over another panel");
        }
        if panel["type"] == "row" {
            continue;
        }
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        assert!(panel["description"].is_string() && panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title}");
        let targets = panel["targets"].as_array().expect("targets");
        assert!(!targets.is_empty(), "{title} shows nothing");
        let names: BTreeSet<_> = targets.iter().map(|target| target["refId"].as_str().expect("a refId")).collect();
        assert_eq!(names.len(), targets.len(), "{title}");
        for target in targets {
            let expression = target["expr"].as_str().expect("an expression");
            check(title, expression, &served);
            expressions.push(expression.replace("$__rate_interval", "5m").replace("$instance", ".*"));
        }
    }
    assert!(expressions.iter().all(|expression| !expression.contains('$')), "{expressions:?}");
    parse(&expressions);
}
