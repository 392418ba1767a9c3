//! What the gateway counts, read from Prometheus' text format 0.0.4.

use std::collections::BTreeMap;

/// One collection of all series.
#[derive(Debug, Default)]
pub(crate) struct Metrics(Vec<Sample>);

#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Metrics {
    /// Lines that aren't samples are passed over.
    pub(crate) fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(sample).collect())
    }

    fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Sample> {
        self.0.iter().filter(move |sample| sample.name == name)
    }

    /// All series of a name together.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        // Not `sum()`: that of nothing is -0.
        self.of(name).fold(0.0, |sum, sample| sum + sample.value)
    }

    /// The series of a name by device.
    pub(crate) fn by_device(&self, name: &str) -> BTreeMap<&str, f64> {
        let of_name = self.0.iter().filter(|sample| sample.name == name);
        of_name.filter_map(|sample| Some((sample.labels.get("device_id")?.as_str(), sample.value))).collect()
    }

    /// What a histogram has counted since `before`: upper bounds and how many are at or below, in order.
    fn buckets_since(&self, before: &Self, name: &str) -> Vec<(f64, f64)> {
        let name = format!("{name}_bucket");
        let bound = |sample: &Sample| sample.labels.get("le").and_then(|le| le.parse::<f64>().ok());
        let count_before = |bound_now: f64| {
            let same = before.of(&name).find(|sample| bound(sample) == Some(bound_now));
            same.map_or(0.0, |sample| sample.value)
        };
        let now = self.of(&name).filter_map(|sample| bound(sample).zip(Some(sample.value)));
        now.map(|(bound, count)| (bound, count - count_before(bound))).collect()
    }

    /// The bound of the bucket in which this quantile lies; not a number when nothing was counted.
    pub(crate) fn quantile_bound(&self, before: &Self, name: &str, share: f64) -> f64 {
        let buckets = self.buckets_since(before, name);
        let total = buckets.last().map_or(0.0, |(_, count)| *count);
        let reached = buckets.iter().find(|(_, count)| total > 0.0 && *count >= share * total);
        reached.map_or(f64::NAN, |(bound, _)| *bound)
    }
}

/// `name{label="value",…} number`, the labels optional. Ids here hold neither commas nor quotes.
fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ').filter(|_| !line.starts_with('#'))?;
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let pairs = labels.trim_end_matches('}').split(',').filter_map(|label| label.split_once('='));
    let labels = pairs.map(|(key, value)| (key.to_owned(), value.trim_matches('"').to_owned())).collect();
    Some(Sample { name: name.to_owned(), labels, value: value.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(counts: [u32; 3]) -> Metrics {
        let [first, second, all] = counts;
        Metrics::parse(&format!(
            "# TYPE delay histogram\ndelay_bucket{{le=\"0.01\"}} {first}\ndelay_bucket{{le=\"0.05\"}} {second}\n\
             delay_bucket{{le=\"+Inf\"}} {all}\ndelay_sum 3\ndelay_count {all}\n"
        ))
    }

    #[test]
    fn series_are_summed_and_told_apart_by_device() {
        let text = "# HELP scans x\nscans{device_id=\"a\"} 3\nscans{device_id=\"b\"} 4\nother 1\n";
        let metrics = Metrics::parse(text);
        assert!((metrics.sum("scans") - 7.0).abs() < 1e-9);
        assert_eq!(metrics.by_device("scans"), BTreeMap::from([("a", 3.0), ("b", 4.0)]));
        assert!(metrics.sum("missing").abs() < 1e-9);
    }

    #[test]
    fn a_quantile_is_of_what_was_counted_in_between_alone() {
        let (before, after) = (delays([0, 0, 1000]), delays([98, 100, 1100]));
        let bound = |share| after.quantile_bound(&before, "delay", share);
        assert!((bound(0.98) - 0.01).abs() < 1e-9 && (bound(0.99) - 0.05).abs() < 1e-9);
        assert!(after.quantile_bound(&Metrics::default(), "delay", 0.99).is_infinite());
    }

    #[test]
    fn a_histogram_that_counted_nothing_has_no_quantile() {
        assert!(delays([1, 1, 1]).quantile_bound(&delays([1, 1, 1]), "delay", 0.99).is_nan());
        assert!(Metrics::default().quantile_bound(&Metrics::default(), "delay", 0.99).is_nan());
    }
}
