//! What was measured, beside what was to be reached: a table for people, JSON for programs.

use std::{fmt, fs, path::Path};

use serde::Serialize;
use serde_json::json;

use crate::error::LoadError;

/// What a figure has to be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
}

impl Target {
    fn is_reached(self, value: f64) -> bool {
        match self {
            Self::AtMost(bound) => value <= bound,
            Self::AtLeast(bound) => value >= bound,
        }
    }
}

/// One figure.
#[derive(Debug, Clone, Serialize)]
struct Row {
    scenario: &'static str,
    measure: String,
    value: f64,
    unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Target>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reached: Option<bool>,
}

/// All figures of one run.
#[derive(Debug)]
pub(crate) struct Report {
    quick: bool,
    rows: Vec<Row>,
}

impl Report {
    /// Nothing measured yet.
    pub(crate) fn new(quick: bool) -> Self {
        Self { quick, rows: Vec::new() }
    }

    /// Adds a figure that is only told.
    pub(crate) fn tell(&mut self, scenario: &'static str, measure: &str, value: f64, unit: &'static str) {
        self.add(scenario, measure, value, unit, None);
    }

    /// Adds a figure that has to reach something.
    pub(crate) fn judge(
        &mut self,
        scenario: &'static str,
        measure: &str,
        (value, unit): (f64, &'static str),
        target: Target,
    ) {
        self.add(scenario, measure, value, unit, Some(target));
    }

    fn add(
        &mut self,
        scenario: &'static str,
        measure: &str,
        value: f64,
        unit: &'static str,
        target: Option<Target>,
    ) {
        let reached = target.map(|target| target.is_reached(value));
        let row = Row { scenario, measure: measure.to_owned(), value, unit, target, reached };
        eprintln!("  {}: {} {}", row.measure, number(value), unit);
        self.rows.push(row);
    }

    /// How many targets were missed.
    pub(crate) fn misses(&self) -> usize {
        self.rows.iter().filter(|row| row.reached == Some(false)).count()
    }

    /// Writes everything as JSON.
    pub(crate) fn write_json(&self, file: &Path) -> Result<(), LoadError> {
        let all = json!({ "machine": machine(), "quick": self.quick, "rows": self.rows });
        fs::write(file, format!("{all:#}\n")).map_err(LoadError::at(file.display().to_string()))
    }
}

/// On what it was measured: without it a figure says little.
fn machine() -> serde_json::Value {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    json!({
        "cpu": model.trim_start_matches(['\t', ' ', ':']),
        "cores": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
    })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widest = self.rows.iter().map(|row| row.measure.len()).max().unwrap_or_default();
        let longest = self.rows.iter().map(|row| row.scenario.len()).max().unwrap_or_default().max(10);
        writeln!(f, "\n{:longest$}  {:widest$}  {:>22}  {:>10}", "scenario", "measure", "figure", "target")?;
        for row in &self.rows {
            let figure = format!("{} {}", number(row.value), row.unit);
            let target = match row.target {
                Some(Target::AtMost(bound)) => format!("<= {}", number(bound)),
                Some(Target::AtLeast(bound)) => format!(">= {}", number(bound)),
                None => String::new(),
            };
            let verdict = match row.reached {
                Some(true) => "  reached",
                Some(false) => "  MISSED",
                None => "",
            };
            let (scenario, measure) = (row.scenario, &row.measure);
            let line = format!("{scenario:longest$}  {measure:widest$}  {figure:>22}  {target:>10}{verdict}");
            writeln!(f, "{}", line.trim_end())?;
        }
        if self.quick {
            writeln!(f, "\n--quick: too short for figures to quote")?;
        }
        Ok(())
    }
}

/// Three significant digits, whole numbers whole.
fn number(value: f64) -> String {
    match value.abs() {
        _ if value.fract() == 0.0 => format!("{value:.0}"),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        0.01.. => format!("{value:.3}"),
        _ => format!("{value:.6}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_reached_at_its_bound_and_missed_beyond() {
        assert!(Target::AtMost(4.0).is_reached(4.0) && !Target::AtMost(4.0).is_reached(4.01));
        assert!(Target::AtLeast(0.8).is_reached(0.8) && !Target::AtLeast(0.8).is_reached(0.79));
    }

    #[test]
    fn only_targets_can_be_missed() {
        let mut report = Report::new(false);
        report.tell("write", "told", 5.0, "ms");
        report.judge("write", "p50", (2.0, "ms"), Target::AtMost(1.0));
        report.judge("write", "p99", (2.0, "ms"), Target::AtMost(4.0));
        assert_eq!(report.misses(), 1);
        let table = report.to_string();
        assert!(table.contains("<= 1  MISSED") && table.contains("<= 4  reached"), "{table}");
    }

    #[test]
    fn a_figure_that_is_not_a_number_reaches_nothing() {
        assert!(!Target::AtMost(4.0).is_reached(f64::NAN));
    }

    #[test]
    fn figures_keep_three_digits() {
        let cases = [(0.0, "0"), (12.0, "12"), (0.8123, "0.812"), (1.2345, "1.23"), (12.345, "12.3")];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
        assert_eq!(number(18_879.4), "18879");
    }
}
