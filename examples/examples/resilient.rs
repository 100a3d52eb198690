//! A task that fails now and then: it is tried again, and when all attempts have failed, the last good result stands in.

use std::time::Duration;

use gorun::prelude::*;

fn main() -> Result<(), TaskError> {
    // Crashes are tried again only because this task bears being done twice.
    let backoff = Backoff::exponential(Duration::from_millis(5), Duration::from_secs(1)).full_jitter();
    let retry = Retry::attempts(3).crash_attempts(2).backoff(backoff);
    for day in 1..=3_u32 {
        let task = Task::with(day, forecast).timeout(Duration::from_secs(5)).retry(retry.clone());
        let degrees = task.fallback(Fallback::cached(Duration::from_secs(3600))).go().join()?;
        println!("day {day}: {degrees} degrees");
    }
    if let Some(policies) = Runtime::current().ok().and_then(|runtime| runtime.stats().policies) {
        println!("{} retries, {} fallbacks", policies.retries, policies.fallbacks);
    }
    Ok(())
}

/// A service that is down on the second day, and kills its worker on the third.
fn forecast(day: u32) -> i32 {
    match day {
        2 => panic!("the weather service does not answer"),
        3 => std::process::abort(),
        _ => 21,
    }
}
