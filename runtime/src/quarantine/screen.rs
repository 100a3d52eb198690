//! Screen: the look at a task before it is published, in the host and in its workers.
//!
//! The host asks its ledger. A worker that starts tasks of its own asks the list in the segment, where the host
//! posts what is quarantined; what stands there is believed only as far as refusing goes.

use super::EAGER_BYTES_MAX;
use super::fingerprint::Fingerprint;
use super::ledger::{Crash, Death, Ledger, Task, Verdict};
use crate::dispatch::Dispatcher;
use crate::error::TaskError;
use crate::obituary;
use gorun_shm::slots::{Descriptor, State};
use gorun_shm::sync::{AtomicU64, Ordering};
use gorun_worker::wire::quarantine::QuarantineEntry;
use gorun_worker::wire::status::{MARK_HANDLES, MARK_IN_BLOCK, MARK_RANGE, Status};
use std::sync::{Mutex, MutexGuard, PoisonError};
use zerocopy::IntoBytes;

/// What a dispatcher knows of tasks that kill.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    /// None where nothing is ever quarantined, and in a worker.
    ledger: Option<Mutex<Ledger>>,
    /// One bit for each suspect function, several of them perhaps the same; 0 while there is none.
    suspects: AtomicU64,
}

impl Screen {
    /// The host's; `after` deaths quarantine, 0 for never.
    pub(crate) fn of_host(after: u32) -> Self {
        let ledger = (after > 0).then(|| Mutex::new(Ledger::new(after)));
        Self { ledger, suspects: AtomicU64::new(0) }
    }

    pub(super) fn ledger(&self) -> Option<MutexGuard<'_, Ledger>> {
        self.ledger.as_ref().map(|ledger| ledger.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn may_suspect(&self, function: u64) -> bool {
        // Relaxed: a task that is submitted while another dies was not suspect in time.
        self.suspects.load(Ordering::Relaxed) & bit(function) != 0
    }

    fn note_suspects(&self, ledger: &Ledger) {
        let bits = ledger.suspects().map(bit).fold(0, |all, one| all | one);
        self.suspects.store(bits, Ordering::Relaxed); // Relaxed: as in `may_suspect`.
    }
}

/// The bit of a function: the top six bits of its product with 2^64 over the golden ratio.
fn bit(function: u64) -> u64 {
    1 << (function.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 58)
}

impl Dispatcher {
    /// Looks at a task whose input lies in its slot.
    ///
    /// # Errors
    /// [`TaskError::Quarantined`].
    #[inline]
    pub(crate) fn screen_inline(&self, descriptor: &Descriptor) -> Result<(), TaskError> {
        if !self.is_watched(descriptor.function) {
            return Ok(());
        }
        let bytes = descriptor.payload.as_bytes();
        let input = bytes.get(..descriptor.input_bytes as usize).unwrap_or(bytes);
        self.screen(task_of(descriptor), input, Some(input)).map(|_| ())
    }

    /// Looks at a task whose input lies in a block; gives its fingerprint, if it has one already.
    ///
    /// # Errors
    /// [`TaskError::Quarantined`].
    pub(crate) fn screen_block(
        &self,
        descriptor: &Descriptor,
        input: &[u8],
    ) -> Result<Option<Fingerprint>, TaskError> {
        if self.is_watched(descriptor.function) {
            let whole = (descriptor.marks & MARK_HANDLES == 0).then_some(input);
            return self.screen(task_of(descriptor), input, whole).map(Some);
        }
        let eager = self.screen.ledger.is_some() && input.len() <= EAGER_BYTES_MAX;
        Ok(eager.then(|| Fingerprint::of(descriptor.function, input)))
    }

    /// True if tasks of this function must be looked at.
    #[inline]
    pub(crate) fn is_watched(&self, function: u64) -> bool {
        self.screen.may_suspect(function) || (self.is_nested() && self.commons.host.quarantine.count() > 0)
    }

    /// Looks at a task of a watched function.
    ///
    /// # Errors
    /// [`TaskError::Quarantined`].
    #[cold]
    pub(crate) fn screen(
        &self,
        task: Task,
        input: &[u8],
        sample: Option<&[u8]>,
    ) -> Result<Fingerprint, TaskError> {
        let fingerprint = Fingerprint::of(task.function, input);
        let verdict = if self.is_nested() {
            let posted = self.commons.host.quarantine.find(fingerprint.word());
            posted.map_or(Verdict::Pass, |entry| Verdict::Refuse {
                crashes: entry.crashes,
                last: Death { payload: [0, 0, entry.how, entry.who], attempt: entry.attempt },
            })
        } else {
            let ledger = self.screen.ledger().filter(|ledger| ledger.is_suspect(task.function));
            ledger.map_or(Verdict::Pass, |mut ledger| ledger.screen(fingerprint, sample))
        };
        match verdict {
            Verdict::Pass => Ok(fingerprint),
            Verdict::Refuse { crashes, last } => Err(quarantined(crashes, last)),
        }
    }

    /// Counts a death that nobody planned. If its input is quarantined with it, tasks with that input that stand in line
    /// are ended.
    pub(crate) fn count_crash(&self, crash: &Crash<'_>) {
        let Some(mut ledger) = self.screen.ledger() else { return };
        let tripped = ledger.count(crash);
        self.screen.note_suspects(&ledger);
        let Some(fingerprint) = tripped else { return };
        self.post(&ledger);
        let crashes = ledger.case(fingerprint).map_or(0, |case| case.crashes);
        drop(ledger);
        let function = format_args!("{:#x}", crash.task.function);
        tracing::warn!(%fingerprint, %function, crashes, "quarantined: it keeps killing workers");
        self.end_queued(fingerprint, crashes, crash.death);
    }

    /// Lets a quarantined fingerprint, or all of them, pass again; gives how many.
    pub(super) fn release(&self, which: Option<Fingerprint>) -> usize {
        let Some(mut ledger) = self.screen.ledger() else { return 0 };
        let list = match which {
            Some(one) => vec![one],
            None => ledger.quarantined().into_iter().map(|(fingerprint, _)| fingerprint).collect(),
        };
        let released = list.into_iter().filter(|fingerprint| ledger.release(*fingerprint)).count();
        self.screen.note_suspects(&ledger);
        self.post(&ledger);
        released
    }

    /// Tells the workers; of very many the newest.
    fn post(&self, ledger: &Ledger) {
        let newest = ledger.quarantined().into_iter().rev().map(|(fingerprint, case)| {
            let [_, _, how, who] = case.last.payload;
            QuarantineEntry {
                fingerprint: fingerprint.word(),
                crashes: case.crashes,
                attempt: case.last.attempt,
                how,
                who,
            }
        });
        self.commons.host.quarantine.post(newest);
    }

    fn end_queued(&self, fingerprint: Fingerprint, crashes: u32, last: Death) {
        let [_, _, how, who] = last.payload;
        let payload = [u64::from(crashes), 0, how, who];
        for lane in 0..self.lane_count() {
            self.end_in_lane(lane, |book, ring, position| {
                let (slot, lap) = ring.slot(position);
                let word = slot.word();
                if word.lap() != lap || word.state() != State::Ready {
                    return None;
                }
                let descriptor = slot.task();
                let found = if descriptor.marks & MARK_IN_BLOCK != 0 {
                    book.fingerprint(position)
                } else if descriptor.marks & MARK_RANGE == 0 {
                    inline_fingerprint(&descriptor)
                } else {
                    None
                };
                // What was read is the task's if it is still unstarted when it is ended.
                (found == Some(fingerprint))
                    .then(|| book.end_unstarted(ring, position, Status::Quarantined, payload))
                    .flatten()
            });
        }
    }
}

/// The fingerprint of a task whose input lies in its slot.
pub(crate) fn inline_fingerprint(descriptor: &Descriptor) -> Option<Fingerprint> {
    let input = descriptor.payload.as_bytes().get(..descriptor.input_bytes as usize)?;
    Some(Fingerprint::of(descriptor.function, input))
}

pub(crate) fn task_of(descriptor: &Descriptor) -> Task {
    let Descriptor { shim, function, input_bytes, .. } = *descriptor;
    Task { shim, function, input_bytes }
}

fn quarantined(crashes: u32, last: Death) -> TaskError {
    TaskError::Quarantined { crashes, evidence: Box::new(obituary::unpack(last.payload, last.attempt)) }
}
