//! Lines in the text format of Prometheus (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
//!
//! Owns: how names, labels and numbers are spelled. Does not own: which there are (`prometheus`, `molt_metrics`).

use std::fmt::{self, Write};

use crate::measure::Distribution;

/// A page as it is written. Writing to a String does not fail.
#[derive(Default)]
pub(super) struct Page(String);

impl Page {
    pub(super) fn into_text(self) -> String {
        self.0
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, "counter", help);
        self.sample(name, &[], value as f64);
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.head(name, "gauge", help);
        self.sample(name, &[], value);
    }

    pub(super) fn histogram(&mut self, name: &str, help: &str, distribution: &Distribution) {
        self.head(name, "histogram", help);
        let bucket = format!("{name}_bucket");
        for (bound, count) in &distribution.up_to {
            self.sample(&bucket, &[("le", &bound.to_string())], *count as f64);
        }
        self.sample(&bucket, &[("le", "+Inf")], distribution.count as f64);
        self.sample(&format!("{name}_sum"), &[], distribution.sum_seconds);
        self.sample(&format!("{name}_count"), &[], distribution.count as f64);
    }

    /// What a metric is, once; its samples follow.
    pub(super) fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"{}\"", if at == 0 { '{' } else { ',' }, escaped(text));
        }
        let _ = writeln!(self.0, "{} {}", if labels.is_empty() { "" } else { "}" }, Number(value));
    }
}

/// A text as the value of a label.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// A number as Prometheus spells it.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_infinite() { f.write_str("+Inf") } else { self.0.fmt(f) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Histogram;

    #[test]
    fn labels_are_escaped_and_buckets_add_up() {
        let mut page = Page::default();
        page.sample("a_total", &[("x", "b\"\\\n"), ("y", "")], f64::INFINITY);
        let histogram = Histogram::of_steps();
        for millis in [1, 20_000, 90_000] {
            histogram.observe(std::time::Duration::from_millis(millis));
        }
        page.histogram("h_seconds", "Help.", &histogram.distribution());
        let text = page.into_text();
        assert!(text.starts_with("a_total{x=\"b\\\"\\\\\\n\",y=\"\"} +Inf\n# HELP h_seconds Help.\n"), "{text}");
        let ends = "h_seconds_bucket{le=\"60\"} 2\nh_seconds_bucket{le=\"+Inf\"} 3\nh_seconds_sum 110.001\nh_seconds_count 3\n";
        assert!(text.contains("h_seconds_bucket{le=\"0.001\"} 1\n") && text.ends_with(ends), "{text}");
    }
}
