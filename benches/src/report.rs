//! Rows of the table: one JSON object per line on stdout, the same for people on stderr.
//!
//! `{"metric","ours","reference","ratio","reach","better","met","unit","peer","spread"}`: `ratio` = ours / reference,
//! `reach` is the ratio aimed at, `met` compares the two as `better` says; both are null for a peer shown for
//! comparison only. `spread` is the larger of both sides' (max − min) / median.

use crate::measure::Sample;

/// Which ratios are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Times and sizes: the ratio should be at most the reach.
    Lower,
    /// Rates and speed-ups: the ratio should be at least the reach.
    Higher,
}

/// One measured question.
#[derive(Debug, Clone)]
pub struct Row<'a> {
    /// What is measured, fit for the first column of a table.
    pub metric: &'a str,
    /// Unit of both sides.
    pub unit: &'a str,
    /// Our side.
    pub ours: Sample,
    /// Who the other side is.
    pub peer: &'a str,
    /// The other side.
    pub reference: Sample,
    /// Which ratios are good.
    pub better: Better,
    /// The ratio to reach; `None` for a comparison without an aim.
    pub reach: Option<f64>,
}

impl Row<'_> {
    /// ours / reference.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.ours.median / self.reference.median
    }

    /// Whether the ratio reaches its aim, if it has one.
    #[must_use]
    pub fn met(&self) -> Option<bool> {
        self.reach.map(|reach| match self.better {
            Better::Lower => self.ratio() <= reach,
            Better::Higher => self.ratio() >= reach,
        })
    }

    /// Prints the row on stdout for machines and on stderr for people.
    pub fn print(&self) {
        println!("{}", self.json());
        let aim = match (self.better, self.reach) {
            (Better::Lower, Some(reach)) => format!(" (reach <= {reach})"),
            (Better::Higher, Some(reach)) => format!(" (reach >= {reach})"),
            (_, None) => String::new(),
        };
        let verdict = match self.met() {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        };
        eprintln!(
            "{:<52} {:>10.4} against {:>10.4} {} of {}: {:.3}{aim} {verdict}",
            self.metric,
            self.ours.median,
            self.reference.median,
            self.unit,
            self.peer,
            self.ratio()
        );
    }

    fn json(&self) -> serde_json::Value {
        let better = match self.better {
            Better::Lower => "lower",
            Better::Higher => "higher",
        };
        serde_json::json!({
            "metric": self.metric,
            "ours": self.ours.median,
            "reference": self.reference.median,
            "ratio": self.ratio(),
            "reach": self.reach,
            "better": better,
            "met": self.met(),
            "unit": self.unit,
            "peer": self.peer,
            "spread": self.ours.spread.max(self.reference.spread),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(better: Better, ours: f64, reach: Option<f64>) -> Row<'static> {
        let (ours, reference) = (Sample::constant(ours), Sample::constant(2.0));
        Row { metric: "m", unit: "u", ours, peer: "p", reference, better, reach }
    }

    #[test]
    fn lower_is_met_at_and_below_the_reach() {
        assert_eq!(row(Better::Lower, 2.0, Some(1.0)).met(), Some(true));
        assert_eq!(row(Better::Lower, 2.1, Some(1.0)).met(), Some(false));
    }

    #[test]
    fn higher_is_met_at_and_above_the_reach() {
        assert_eq!(row(Better::Higher, 3.0, Some(1.5)).met(), Some(true));
        assert_eq!(row(Better::Higher, 2.9, Some(1.5)).met(), Some(false));
    }

    #[test]
    fn a_comparison_without_an_aim_is_neither_met_nor_missed() {
        let json = row(Better::Higher, 3.0, None).json();
        assert!(json["met"].is_null() && json["reach"].is_null());
        assert_eq!(json["ratio"], 1.5);
    }
}
