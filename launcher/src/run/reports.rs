//! The runtimes that a program and its children have reported, in the order in which they came.
//!
//! The segment of a runtime is read for the last time when its process ends, and let go then: its memory would live
//! as long as we hold it. Where many are held, those that were shut down go earlier.

use gorun::observe::{Listener, Observed};
use gorun::{Profile, Stats};
use std::error::Error;
use std::os::fd::BorrowedFd;

/// Segments held at a time: each costs two descriptors of ours and keeps its memory.
const LIVE_MAX: usize = 64;
/// Runtimes listed; nobody reads more. The rest is counted.
const LISTED_MAX: usize = 256;
/// Refusals listed, for the same reason.
const REFUSED_MAX: usize = 16;

#[derive(Debug)]
pub(super) struct Reports {
    listener: Option<Listener>,
    entries: Vec<Entry>,
    refused: Vec<String>,
    unlisted: u64,
}

#[derive(Debug)]
enum Entry {
    Live(Box<Observed>),
    Over(Box<(Stats, Profile)>),
}

impl Reports {
    /// Those that come to `listener`.
    pub(super) fn of(listener: Listener) -> Self {
        Self { listener: Some(listener), ..Self::closed() }
    }

    /// None will come.
    pub(super) fn closed() -> Self {
        Self { listener: None, entries: Vec::new(), refused: Vec::new(), unlisted: 0 }
    }

    /// Where the program is to report.
    pub(super) fn name(&self) -> Option<&str> {
        self.listener.as_ref().map(Listener::name)
    }

    /// When one of these is readable, [`Reports::take`] has something to do.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let hosts = self.entries.iter().filter_map(|entry| match entry {
            Entry::Live(observed) => observed.host(),
            Entry::Over(_) => None,
        });
        self.listener.iter().flat_map(Listener::descriptors).chain(hosts)
    }

    /// Takes what has come, and reads for the last time what is over.
    pub(super) fn take(&mut self) {
        self.settle(Observed::host_has_ended);
        for taken in self.listener.as_mut().map(Listener::accept_all).unwrap_or_default() {
            match taken {
                Ok(observed) => self.list(observed),
                Err(error) => self.refuse(&error),
            }
        }
    }

    /// Everything that came: the runtimes, refusals in words, and how many runtimes there were beyond the limit.
    pub(super) fn close(mut self) -> (Vec<(Stats, Profile)>, Vec<String>, u64) {
        self.take();
        self.settle(|_| true);
        let told = self.entries.into_iter().filter_map(|entry| match entry {
            Entry::Live(_) => None,
            Entry::Over(told) => Some(*told),
        });
        (told.collect(), self.refused, self.unlisted)
    }

    fn list(&mut self, observed: Observed) {
        if self.live() >= LIVE_MAX {
            self.settle(Observed::has_stopped);
        }
        if self.live() < LIVE_MAX && self.entries.len() < LISTED_MAX {
            self.entries.push(Entry::Live(Box::new(observed)));
        } else {
            self.unlisted += 1;
        }
    }

    fn live(&self) -> usize {
        self.entries.iter().filter(|entry| matches!(entry, Entry::Live(_))).count()
    }

    fn refuse(&mut self, error: &dyn Error) {
        if self.refused.len() < REFUSED_MAX {
            self.refused.push(in_full(error));
        }
    }

    fn settle(&mut self, is_over: impl Fn(&Observed) -> bool) {
        for entry in &mut self.entries {
            match entry {
                Entry::Live(observed) if is_over(observed) => {
                    *entry = Entry::Over(Box::new((observed.stats(), observed.profile())));
                }
                _ => {}
            }
        }
    }
}

/// An error with its causes.
fn in_full(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause: &&dyn Error| (*cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_with_its_causes() {
        let cause = std::io::Error::other("no descriptors left");
        let text = in_full(&gorun::observe::ObserveError::Deaf(cause));
        assert_eq!(text, "no further runtime can be seen (raise RLIMIT_NOFILE): no descriptors left");
    }
}
