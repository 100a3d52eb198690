//! Soaks: one kind of fault, very many times; nothing may be lost but what the fault costs, and nothing may grow.

pub mod fatal;
pub mod flat;
pub mod kills;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on standard error, if that is a terminal.
#[must_use]
pub fn bar(length: u64, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(length).with_message(what);
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {per_sec} {eta}");
    style.map_or_else(|_| bar.clone(), |style| bar.clone().with_style(style))
}

/// The value below which `share` of the sorted `values` lie.
#[must_use]
pub fn quantile(values: &mut [u64], share: f64) -> u64 {
    values.sort_unstable();
    let last = values.len().saturating_sub(1);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index within the slice")]
    let index = (last as f64 * share) as usize;
    values.get(index).copied().unwrap_or(0)
}
