//! Times and shares as a person reads them: three digits that count, and the unit they fit.

/// Seconds as `1.25 s`, `34.0 ms`, `830 ns` or `2 h 05 min`.
pub(super) fn time(seconds: f64) -> String {
    if seconds >= 6000.0 {
        return hours(seconds);
    }
    let (value, unit) = match seconds {
        small if small < 999.5e-9 => (small * 1e9, "ns"),
        small if small < 999.5e-6 => (small * 1e6, "us"),
        small if small < 999.5e-3 => (small * 1e3, "ms"),
        _ => (seconds, "s"),
    };
    format!("{} {unit}", three_digits(value))
}

/// A share of one as `97.3 %`.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn hours(seconds: f64) -> String {
    let minutes = (seconds / 60.0).round();
    format!("{} h {:02} min", (minutes / 60.0).floor(), minutes % 60.0)
}

fn three_digits(value: f64) -> String {
    let digits = match value {
        0.0 => 0,
        small if small < 9.995 => 2,
        middle if middle < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_take_the_unit_they_fit() {
        for (seconds, expected) in [
            (0.0, "0 ns"),
            (830e-9, "830 ns"),
            (1.5e-6, "1.50 us"),
            (12.34e-3, "12.3 ms"),
            (0.9999, "1.00 s"),
            (1.25, "1.25 s"),
            (99.99, "100 s"),
            (5400.0, "5400 s"),
            (7500.0, "2 h 05 min"),
        ] {
            assert_eq!(time(seconds), expected);
        }
    }

    #[test]
    fn shares_have_one_decimal() {
        assert_eq!(percent(0.9734), "97.3 %");
        assert_eq!(percent(0.0), "0.0 %");
    }
}
