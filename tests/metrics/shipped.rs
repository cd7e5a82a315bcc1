//! What the package has for Prometheus and Grafana names what there is.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

const ALERTS: &str = include_str!("../../systemd/prometheus/alerts.yml");
const DASHBOARD: &str = include_str!("../../systemd/prometheus/grafana.json");

/// Where metrics get their names.
const NAMES: &str = include_str!("../../src/api/metrics/families.rs");

/// The names of metrics in a text.
fn named(text: &str) -> BTreeSet<&str> {
    let is_word = |c: char| c.is_ascii_lowercase() || c == '_';
    let words = text.split(|c| !is_word(c));
    let begins = |word: &&str| {
        ["procserver_", "process_"]
            .iter()
            .any(|p| word.starts_with(p))
    };
    words.filter(begins).collect()
}

/// Whether there is a metric of this name. What is added to a name depends on its kind.
fn is_there(name: &str) -> bool {
    let ends = ["", "_total", "_bucket", "_sum", "_count"].into_iter();
    let mut stems = ends.filter_map(|end| name.strip_suffix(end));
    stems.any(|stem| NAMES.contains(&format!("\"{stem}\"")))
}

#[test]
fn alerts_and_dashboard_name_metrics_that_there_are() {
    for (file, text) in [("alerts.yml", ALERTS), ("grafana.json", DASHBOARD)] {
        let names = named(text);
        assert!(names.len() > 7, "{file}: {names:?}");
        for name in names {
            assert!(is_there(name), "{file}: {name}");
        }
    }
    assert!(!is_there("procserver_no_such_thing"));
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() > 10);
}

#[test]
fn promtool_takes_the_alerts() {
    if !super::has_promtool() {
        return;
    }
    let alerts = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/prometheus/alerts.yml");
    let mut promtool = Command::new("promtool");
    let output = promtool.args(["check", "rules"]).arg(alerts).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("9 rules"),
        "{said}"
    );
}
