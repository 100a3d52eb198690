//! Fence: the same for the items of a map, which travel many in a task.

use super::fingerprint::Fingerprint;
use super::ledger::{Crash, Death, Task};
use crate::dispatch::Dispatcher;
use crate::error::TaskError;
use gorun_shm::os::ticks;
use gorun_worker::range;

/// What of a range may run next.
#[derive(Debug)]
pub(crate) struct Stretch {
    /// Why the items in front may not.
    pub(crate) refused: Vec<TaskError>,
    /// Where the next one is that may not, or the end.
    pub(crate) end: u32,
}

/// Looks at the items of one map's function.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fence<'a> {
    dispatcher: &'a Dispatcher,
    /// Code ids of the range's shim and of the function.
    shim: u64,
    function: u64,
}

impl<'a> Fence<'a> {
    pub(crate) fn new(dispatcher: &'a Dispatcher, shim: u64, function: u64) -> Self {
        Self { dispatcher, shim, function }
    }

    /// Looks at one item.
    ///
    /// # Errors
    /// [`TaskError::Quarantined`].
    #[inline]
    pub(crate) fn screen(&self, item: &[u8]) -> Result<(), TaskError> {
        if !self.dispatcher.is_watched(self.function) {
            return Ok(());
        }
        self.dispatcher.screen(self.task(item), item, None).map(|_| ())
    }

    /// Looks at the items of a range's input from `first` on.
    pub(crate) fn stretch(&self, input: &[u8], first: u32, total: u32) -> Stretch {
        if !self.dispatcher.is_watched(self.function) {
            return Stretch { refused: Vec::new(), end: total };
        }
        let mut refused = Vec::new();
        let mut passed = false;
        for (index, item) in (0..total).zip(range::items(input)).skip(first as usize) {
            match self.screen(item) {
                Ok(()) => passed = true,
                Err(_) if passed => return Stretch { refused, end: index },
                Err(error) => refused.push(error),
            }
        }
        Stretch { refused, end: total }
    }

    /// A worker died in the item with this index.
    pub(crate) fn accuse(&self, input: &[u8], index: u32, death: [u64; 4]) {
        let Some(item) = range::items(input).nth(index as usize) else { return };
        self.dispatcher.count_crash(&Crash {
            task: self.task(item),
            fingerprint: Some(Fingerprint::of(self.function, item)),
            input: None,
            death: Death { payload: death, attempt: 1 },
            now_ns: ticks::system_ns(),
        });
    }

    fn task(&self, item: &[u8]) -> Task {
        let input_bytes = u32::try_from(item.len()).unwrap_or(u32::MAX);
        Task { shim: self.shim, function: self.function, input_bytes }
    }
}
