//! One measured figure: read from a line of a benchmark, merged with those of earlier runs.

use serde::{Deserialize, Serialize};

/// What a benchmark says about one metric. `ratio` is ours to the reference, `reach` the ratio to get to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) metric: String,
    pub(crate) ours: f64,
    pub(crate) reference: f64,
    pub(crate) ratio: f64,
    /// None for a peer that is shown for comparison only, as `met`.
    pub(crate) reach: Option<f64>,
    /// `lower` or `higher`: which side of `reach` is the good one.
    #[serde(default)]
    pub(crate) better: String,
    pub(crate) met: Option<bool>,
    #[serde(default)]
    pub(crate) unit: String,
    /// What the reference figure was measured on.
    #[serde(default)]
    pub(crate) peer: String,
    /// How far the repetitions of ours lay apart, as a part of the median.
    #[serde(default)]
    pub(crate) spread: f64,
}

/// Every line of a benchmark's output that is a record, and a complaint for each that only half is.
pub(crate) fn parse(output: &str) -> (Vec<Record>, Vec<String>) {
    let (mut records, mut complaints) = (Vec::new(), Vec::new());
    for line in output.lines().filter(|line| line.trim_start().starts_with('{')) {
        match serde_json::from_str(line) {
            Ok(record) => records.push(record),
            Err(error) if line.contains("\"metric\"") => complaints.push(format!("{error} in {line}")),
            // Some other JSON that a benchmark prints is none of our business.
            Err(_) => {}
        }
    }
    (records, complaints)
}

/// The earlier records with the fresh ones in their places, new metrics at the end.
pub(crate) fn merge(earlier: Vec<Record>, fresh: Vec<Record>) -> Vec<Record> {
    let mut merged = earlier;
    for record in fresh {
        match merged.iter_mut().find(|known| (&known.metric, &known.peer) == (&record.metric, &record.peer)) {
            Some(known) => *known = record,
            None => merged.push(record),
        }
    }
    merged
}

#[cfg(test)]
pub(crate) fn sample(metric: &str, ours: f64) -> Record {
    Record {
        metric: metric.to_owned(),
        ours,
        reference: 0.65,
        ratio: ours / 0.65,
        reach: Some(0.5),
        better: "lower".to_owned(),
        met: Some(ours <= 0.325),
        unit: "µs".to_owned(),
        peer: "rayon::spawn".to_owned(),
        spread: 0.04,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_and_other_lines_ignored() {
        let line = serde_json::to_string(&sample("null_task", 0.25)).unwrap();
        let (records, complaints) = parse(&format!("warming up\n{{\"note\": 1}}\n{line}\n"));
        assert_eq!(records, [sample("null_task", 0.25)]);
        assert_eq!(complaints, Vec::<String>::new());
    }

    #[test]
    fn what_the_table_can_do_without_may_be_left_out() {
        let (records, _) =
            parse("{\"metric\":\"a\",\"ours\":1,\"reference\":2,\"ratio\":0.5,\"reach\":1,\"met\":true}");
        assert_eq!((records[0].metric.as_str(), records[0].peer.as_str()), ("a", ""));
    }

    #[test]
    fn half_a_record_is_complained_about() {
        let (records, complaints) = parse("{\"metric\": \"null_task\", \"ours\": 1.0}");
        assert!(records.is_empty());
        assert_eq!(complaints.len(), 1);
    }

    #[test]
    fn a_peer_without_an_aim_is_a_record_too() {
        let line = "{\"metric\":\"a\",\"ours\":1,\"reference\":2,\"ratio\":0.5,\"reach\":null,\"met\":null}";
        let (records, complaints) = parse(line);
        assert_eq!((records[0].reach, records[0].met, complaints.len()), (None, None, 0));
        let other = Record { peer: "another".to_owned(), ..sample("a", 1.0) };
        assert_eq!(merge(vec![sample("a", 1.0)], vec![other]).len(), 2);
    }

    #[test]
    fn a_fresh_figure_takes_the_place_of_the_earlier_one() {
        let merged =
            merge(vec![sample("a", 1.0), sample("b", 2.0)], vec![sample("c", 4.0), sample("a", 3.0)]);
        assert_eq!(merged, [sample("a", 3.0), sample("b", 2.0), sample("c", 4.0)]);
    }
}
