//! Face: what a user sees of the quarantine, and does about it.

use super::fingerprint::Fingerprint;
use super::ledger::{Case, Task};
use crate::book::{Keep, Outcome};
use crate::error::{Place, TaskError};
use crate::evidence::Evidence;
use crate::handle::resolve;
use crate::runtime::Runtime;
use crate::{obituary, symbols, task};
use gorun_shm::blocks::OwnedBlock;
use gorun_shm::os::ticks;
use gorun_shm::slots::{Descriptor, INLINE_BYTES};
use gorun_worker::function::CodeId;
use gorun_worker::message::{self, SealError};
use gorun_worker::wire::status::{MARK_MORTAL, Status};
use serde::Serialize;
use std::fmt;
use std::time::Duration;
use thiserror::Error;
use zerocopy::IntoBytes;

/// What a runtime has quarantined: see [`Runtime::quarantine`].
///
/// The host keeps it: inside a task the list is empty, and tasks that a task starts are refused all the same.
#[derive(Debug, Clone)]
#[must_use = "a quarantine does nothing by itself"]
pub struct Quarantine {
    runtime: Runtime,
}

/// A function and an input of it that are not run any more. `Display` gives one screen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct QuarantinedTask {
    /// Its name here.
    pub fingerprint: Fingerprint,
    /// Name of the function.
    pub function: String,
    /// Bytes of its encoded input.
    pub input_bytes: u32,
    /// The encoded input, once it was seen whole: at most 1 MiB, and none of an item of a map.
    pub input: Option<Vec<u8>>,
    /// Workers it has killed.
    pub crashes: u32,
    /// Tasks refused since.
    pub refused: u64,
    /// How long ago the last of the workers died.
    pub last_crash: Duration,
    /// What is known of that death.
    pub evidence: Evidence,
}

/// Why a quarantined task could not be run again.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// Nothing of this name is quarantined.
    #[error("nothing is quarantined as {fingerprint}; `Quarantine::list` tells what is")]
    Unknown {
        /// The name.
        fingerprint: Fingerprint,
    },
    /// Its input was not kept.
    #[error(
        "its input was not kept: it carries blocks, is an item of a map, is larger than 1 MiB, or was not seen since its first crash; submit it once more, or release it"
    )]
    NoInput,
}

impl Quarantine {
    pub(crate) fn of(runtime: &Runtime) -> Self {
        Self { runtime: runtime.clone() }
    }

    /// Everything that is quarantined, the longest quiet first.
    #[must_use]
    pub fn list(&self) -> Vec<QuarantinedTask> {
        let cases: Vec<(Fingerprint, Case)> = match self.runtime.dispatcher().screen.ledger() {
            Some(ledger) => {
                ledger.quarantined().into_iter().map(|(print, case)| (print, case.clone())).collect()
            }
            None => Vec::new(),
        };
        cases.into_iter().map(|(fingerprint, case)| self.tell(fingerprint, case)).collect()
    }

    /// What is known of one of them.
    #[must_use]
    pub fn inspect(&self, fingerprint: Fingerprint) -> Option<QuarantinedTask> {
        let case = self.case(fingerprint)?;
        Some(self.tell(fingerprint, case))
    }

    /// Lets it run again; its crashes are counted from nought. False if it is not quarantined.
    pub fn release(&self, fingerprint: Fingerprint) -> bool {
        self.runtime.dispatcher().release(Some(fingerprint)) > 0
    }

    /// Lets everything run again; gives how many there were.
    pub fn release_all(&self) -> usize {
        self.runtime.dispatcher().release(None)
    }

    /// Runs it once, in a worker, within the runtime's own limits, and tells how it ended; its value is dropped. It stays
    /// quarantined, and counts one crash more if it kills again.
    ///
    /// # Errors
    /// [`ReplayError`] if it cannot be run.
    ///
    /// # Blocking
    /// Until it has ended.
    pub fn replay(&self, fingerprint: Fingerprint) -> Result<Result<(), TaskError>, ReplayError> {
        let case = self.case(fingerprint).ok_or(ReplayError::Unknown { fingerprint })?;
        let input = case.sample.ok_or(ReplayError::NoInput)?;
        Ok(self.run(case.task, &input, fingerprint))
    }

    fn run(&self, task: Task, input: &[u8], fingerprint: Fingerprint) -> Result<(), TaskError> {
        let dispatcher = self.runtime.dispatcher();
        let limits = self.runtime.limits(Default::default());
        if limits.any() {
            self.runtime.check_limits()?;
        }
        let marks = if limits.any() { MARK_MORTAL } else { 0 };
        let Task { shim, function, input_bytes } = task;
        let mut descriptor = Descriptor { shim, function, input_bytes, marks, attempt: 1, payload: [0; 4] };
        let mut keep = None;
        if input.len() <= INLINE_BYTES {
            descriptor.payload.as_mut_bytes()[..input.len()].copy_from_slice(input);
        } else {
            let bytes = input.len() as u64;
            let block = OwnedBlock::allocate(&dispatcher.commons.blocks, input.len(), dispatcher.me);
            let mut block = block.map_err(|cause| task::rejected(SealError::NoMemory { bytes, cause }))?;
            block.as_mut_slice()[..input.len()].copy_from_slice(input);
            let sealed = message::reseal(block, input_bytes, Vec::new());
            (descriptor.payload, descriptor.marks) = (sealed.payload, marks | sealed.marks);
            let input = sealed.hand_over_input();
            keep = Some(Box::new(Keep { input, output: None, fingerprint: Some(fingerprint) }));
        }
        let since_ns = ticks::system_ns();
        let ticket = self.runtime.submit(&descriptor, keep)?;
        if limits.any() {
            dispatcher.limit(&ticket, limits, since_ns);
        }
        match dispatcher.join(&ticket) {
            Some(
                Outcome::Inline { status: Status::Finished, .. }
                | Outcome::Message { status: Status::Finished, .. },
            ) => Ok(()),
            Some(outcome) => resolve(outcome, &self.runtime.parts()),
            None => Err(TaskError::Decode { place: Place::Slot }),
        }
    }

    fn case(&self, fingerprint: Fingerprint) -> Option<Case> {
        self.runtime.dispatcher().screen.ledger()?.case(fingerprint).cloned()
    }

    fn tell(&self, fingerprint: Fingerprint, case: Case) -> QuarantinedTask {
        let Case { task, crashes, refused, last, last_ns, sample } = case;
        QuarantinedTask {
            fingerprint,
            function: symbols::function(CodeId(task.function), &self.runtime.libraries()).name,
            input_bytes: task.input_bytes,
            input: sample.map(Into::into),
            crashes,
            refused,
            last_crash: Duration::from_nanos(ticks::system_ns().saturating_sub(last_ns)),
            evidence: obituary::unpack(last.payload, last.attempt),
        }
    }
}

impl fmt::Display for QuarantinedTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fingerprint, function, input_bytes, crashes, refused, last_crash, evidence, .. } = self;
        write!(f, "{fingerprint}: {function} with {input_bytes} bytes of input")?;
        write!(f, "\n  killed:    {crashes} workers, the last {last_crash:.1?} ago")?;
        write!(f, "\n  refused:   {refused} tasks since")?;
        if let Some(input) = &self.input {
            write!(f, "\n  input:     {}", Hex(input))?;
        }
        write!(f, "\n{evidence}")
    }
}

/// The first bytes of an input.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 32;
        self.0.iter().take(SHOWN).try_for_each(|byte| write!(f, "{byte:02x}"))?;
        if self.0.len() > SHOWN { f.write_str("...") } else { Ok(()) }
    }
}
