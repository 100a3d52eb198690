//! Ledger: which function and input has killed how many workers. Pure: time comes in, nothing is locked.

use super::fingerprint::Fingerprint;
use std::collections::HashMap;

/// Fingerprints with at least one death that are remembered. The one whose last death is longest ago goes first,
/// and the quarantined go last.
const CASES_MAX: usize = 4096;
/// Functions that are remembered. Deaths of further ones are not counted until some are released.
const FUNCTIONS_MAX: usize = 1024;
/// Input lengths of one function whose first deaths could not be told apart.
const LENGTHS_MAX: usize = 64;
/// Longest input that is kept for a look at it or a replay, in bytes.
const SAMPLE_BYTES_MAX: usize = 1 << 20;

/// What runs: code ids of the shim and the function, and how long its encoded input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) shim: u64,
    pub(crate) function: u64,
    pub(crate) input_bytes: u32,
}

/// How a worker died, as an obituary packs it, and in which attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Death {
    pub(crate) payload: [u64; 4],
    pub(crate) attempt: u8,
}

/// A death that nobody planned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crash<'a> {
    pub(crate) task: Task,
    /// None if the input was not known by its fingerprint when it was published.
    pub(crate) fingerprint: Option<Fingerprint>,
    /// The encoded input, if it can still be had and carries no blocks.
    pub(crate) input: Option<&'a [u8]>,
    pub(crate) death: Death,
    pub(crate) now_ns: u64,
}

/// What is known of one function and input.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) task: Task,
    pub(crate) crashes: u32,
    /// Tasks refused since.
    pub(crate) refused: u64,
    pub(crate) last: Death,
    pub(crate) last_ns: u64,
    pub(crate) sample: Option<Box<[u8]>>,
}

#[derive(Debug, Default)]
struct Function {
    /// Cases of it.
    cases: u32,
    /// Deaths by input length whose fingerprint was not known.
    unknown: HashMap<u32, u32>,
}

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// Deaths that quarantine a fingerprint, 1.. .
    after: u32,
    cases: HashMap<Fingerprint, Case>,
    functions: HashMap<u64, Function>,
}

/// What is to be done with a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    Refuse { crashes: u32, last: Death },
}

impl Ledger {
    pub(crate) fn new(after: u32) -> Self {
        Self { after: after.max(1), cases: HashMap::new(), functions: HashMap::new() }
    }

    /// Counts a death; gives its fingerprint if that is quarantined with it.
    pub(crate) fn count(&mut self, crash: &Crash<'_>) -> Option<Fingerprint> {
        let Task { function, input_bytes, .. } = crash.task;
        if !self.functions.contains_key(&function) && self.functions.len() >= FUNCTIONS_MAX {
            return None;
        }
        let known = self.functions.entry(function).or_default();
        let Some(fingerprint) = crash.fingerprint else {
            if known.unknown.contains_key(&input_bytes) || known.unknown.len() < LENGTHS_MAX {
                *known.unknown.entry(input_bytes).or_default() += 1;
            }
            return None;
        };
        let earlier = known.unknown.remove(&input_bytes).unwrap_or(0);
        if !self.cases.contains_key(&fingerprint) {
            known.cases += 1;
            self.make_room();
        }
        let case = self.cases.entry(fingerprint).or_insert_with(|| Case {
            task: crash.task,
            crashes: 0,
            refused: 0,
            last: crash.death,
            last_ns: crash.now_ns,
            sample: None,
        });
        let before = case.crashes;
        case.crashes = before.saturating_add(1).saturating_add(earlier);
        (case.last, case.last_ns) = (crash.death, crash.now_ns);
        case.keep(crash.input);
        (before < self.after && case.crashes >= self.after).then_some(fingerprint)
    }

    /// What is to be done with a task; keeps its input if it has killed before.
    pub(crate) fn screen(&mut self, fingerprint: Fingerprint, input: Option<&[u8]>) -> Verdict {
        let Some(case) = self.cases.get_mut(&fingerprint) else { return Verdict::Pass };
        case.keep(input);
        if case.crashes < self.after {
            return Verdict::Pass;
        }
        case.refused += 1;
        Verdict::Refuse { crashes: case.crashes, last: case.last }
    }

    /// True if the function has killed a worker.
    pub(crate) fn is_suspect(&self, function: u64) -> bool {
        self.functions.contains_key(&function)
    }

    /// Functions that have killed a worker.
    pub(crate) fn suspects(&self) -> impl Iterator<Item = u64> {
        self.functions.keys().copied()
    }

    /// The quarantined ones, those whose last death is longest ago first.
    pub(crate) fn quarantined(&self) -> Vec<(Fingerprint, &Case)> {
        let is_over = |(_, case): &(&Fingerprint, &Case)| case.crashes >= self.after;
        let mut list: Vec<_> =
            self.cases.iter().filter(is_over).map(|(print, case)| (*print, case)).collect();
        list.sort_by_key(|(print, case)| (case.last_ns, *print));
        list
    }

    /// The case of a quarantined fingerprint.
    pub(crate) fn case(&self, fingerprint: Fingerprint) -> Option<&Case> {
        self.cases.get(&fingerprint).filter(|case| case.crashes >= self.after)
    }

    /// Forgets a quarantined fingerprint: its deaths are counted from nought again.
    pub(crate) fn release(&mut self, fingerprint: Fingerprint) -> bool {
        self.case(fingerprint).is_some() && self.forget(fingerprint)
    }

    fn forget(&mut self, fingerprint: Fingerprint) -> bool {
        let Some(case) = self.cases.remove(&fingerprint) else { return false };
        let function = case.task.function;
        if let Some(known) = self.functions.get_mut(&function) {
            known.cases -= 1;
            if known.cases == 0 && known.unknown.is_empty() {
                self.functions.remove(&function);
            }
        }
        true
    }

    fn make_room(&mut self) {
        if self.cases.len() < CASES_MAX {
            return;
        }
        let oldest =
            |(print, case): (&Fingerprint, &Case)| (case.crashes >= self.after, case.last_ns, *print);
        if let Some((.., oldest)) = self.cases.iter().map(oldest).min() {
            self.forget(oldest);
        }
    }
}

impl Case {
    fn keep(&mut self, input: Option<&[u8]>) {
        if let (None, Some(input)) = (&self.sample, input)
            && input.len() <= SAMPLE_BYTES_MAX
        {
            self.sample = Some(input.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEATH: Death = Death { payload: [0; 4], attempt: 1 };

    fn crash(function: u64, input: &[u8]) -> Crash<'_> {
        let task = Task { shim: 1, function, input_bytes: u32::try_from(input.len()).unwrap() };
        let fingerprint = Some(Fingerprint::of(function, input));
        Crash { task, fingerprint, input: Some(input), death: DEATH, now_ns: 0 }
    }

    fn passes(ledger: &mut Ledger, function: u64, input: &[u8]) -> bool {
        ledger.screen(Fingerprint::of(function, input), Some(input)) == Verdict::Pass
    }

    #[test]
    fn the_last_death_of_so_many_quarantines_and_only_that_input() {
        let mut ledger = Ledger::new(3);
        let tripped = [(); 4].map(|()| ledger.count(&crash(1, b"bad")).is_some());
        assert_eq!(tripped, [false, false, true, false]);
        assert!(!passes(&mut ledger, 1, b"bad"));
        assert!(passes(&mut ledger, 1, b"good") && passes(&mut ledger, 2, b"bad"));
    }

    #[test]
    fn an_unknown_first_death_is_counted_for_the_next_input_of_its_length() {
        let mut ledger = Ledger::new(3);
        let unknown = Crash { fingerprint: None, input: None, ..crash(1, b"poison") };
        assert_eq!(ledger.count(&unknown), None);
        assert!(ledger.is_suspect(1));
        assert_eq!(ledger.count(&crash(1, b"poison")), None);
        assert!(ledger.count(&crash(1, b"poison")).is_some());
        // Spent: the next of that length has all its deaths before it.
        assert_eq!([(); 2].map(|()| ledger.count(&crash(1, b"potion"))), [None, None]);
    }

    #[test]
    fn a_release_begins_anew_and_ends_the_suspicion() {
        let mut ledger = Ledger::new(1);
        let bad = ledger.count(&crash(1, b"bad")).unwrap();
        assert_eq!(ledger.case(bad).unwrap().sample.as_deref(), Some(&b"bad"[..]));
        assert!(ledger.release(bad) && !ledger.release(bad));
        assert!(passes(&mut ledger, 1, b"bad") && !ledger.is_suspect(1));
        assert!(ledger.count(&crash(1, b"bad")).is_some());
    }

    #[test]
    fn of_very_many_inputs_the_oldest_that_are_not_quarantined_are_forgotten() {
        let mut ledger = Ledger::new(2);
        let first = [(); 2].map(|()| ledger.count(&crash(1, b"first")))[1].unwrap();
        for n in 0..2 * CASES_MAX as u64 {
            ledger.count(&Crash { now_ns: n + 1, ..crash(2, &n.to_ne_bytes()) });
        }
        assert_eq!(ledger.cases.len(), CASES_MAX);
        assert!(ledger.case(first).is_some());
        assert_eq!(ledger.functions[&2].cases as usize, CASES_MAX - 1);
    }

    #[test]
    fn functions_without_number_are_not_remembered_without_end() {
        let mut ledger = Ledger::new(1);
        for function in 0..2 * FUNCTIONS_MAX as u64 {
            let _ = ledger.count(&crash(function, b""));
        }
        assert_eq!(ledger.functions.len(), FUNCTIONS_MAX);
    }
}
