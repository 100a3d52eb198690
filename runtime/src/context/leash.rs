//! Leashes: which tasks end with which context, in one process.
//!
//! All tasks of one context hang on one errand of the porter. What has ended is let go of when there are twice as many as
//! were left the last time, so that this is never much longer than there are tasks.

use super::future::Wake;
use super::{Context, Done, Scope};
use crate::dispatch::{Dispatcher, Ticket};
use crate::runtime::PartsRef;
use crate::supervise::Passage;
use gorun_worker::wire::status::Status;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task;

/// Fewest tasks that are looked through for ended ones.
const FULL_MIN: usize = 256;

/// What is ended.
pub(crate) enum Quarry {
    Task(Ticket),
    /// An attempt that its policies may hold back still.
    Attempt(Weak<Passage>),
}

impl Quarry {
    fn is_left(&self, dispatcher: &Dispatcher) -> bool {
        match self {
            Self::Task(ticket) => match dispatcher.keeper_of(ticket) {
                Some(keeper) => !keeper.is_done(ticket.position),
                None => dispatcher.is_open(ticket.lane, ticket.position),
            },
            Self::Attempt(passage) => passage.upgrade().is_some_and(|passage| !passage.has_ended()),
        }
    }

    fn end(&self, dispatcher: &Dispatcher, done: &Done) {
        match self {
            Self::Attempt(passage) => {
                if let Some(passage) = passage.upgrade() {
                    passage.call_off();
                }
            }
            Self::Task(ticket) if dispatcher.keeper_of(ticket).is_some() => {
                dispatcher.cancel(ticket);
            }
            Self::Task(ticket) if !dispatcher.is_open(ticket.lane, ticket.position) => {}
            Self::Task(Ticket { lane, position, .. }) if *done == Done::DeadlineExceeded => {
                if !dispatcher.end_unstarted(*lane, *position, Status::TimedOut, 0) {
                    dispatcher.ask_to_stop(*lane, *position);
                }
            }
            Self::Task(ticket) => {
                dispatcher.cancel(ticket);
            }
        }
    }
}

/// All that hangs on one context.
struct Pack {
    context: Context,
    quarries: Vec<Quarry>,
    /// Dropped, nobody waits for the context's end any more. None while somebody is about to ask.
    wake: Option<Wake>,
}

#[derive(Default)]
struct Inside {
    /// By the address of the context's scope, which the pack keeps.
    packs: BTreeMap<usize, Pack>,
    count: usize,
    full: usize,
}

/// See the module's head.
#[derive(Default)]
pub(crate) struct Leashes(Mutex<Inside>);

impl Leashes {
    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hangs these on the context; true if it is time to look for what has ended.
    fn attach(
        &self,
        context: &Context,
        scope: &Arc<Scope>,
        more: Vec<Quarry>,
        end: &Arc<Dispatcher>,
    ) -> bool {
        let key = Arc::as_ptr(scope) as usize;
        let (is_full, needs_wake) = {
            let mut inside = self.lock();
            inside.count += more.len();
            let is_full = inside.count > inside.full.max(FULL_MIN);
            let fresh = || Pack { context: context.clone(), quarries: Vec::new(), wake: None };
            let pack = inside.packs.entry(key).or_insert_with(fresh);
            pack.quarries.extend(more);
            (is_full, pack.wake.is_none())
        };
        if needs_wake {
            // Asked with the lock released: where no thread can be had it tells at once.
            let over = Over { dispatcher: Arc::downgrade(end), key };
            let mut wake = Some(Wake::at_end(context, &Arc::new(over).into()));
            if let Some(pack) = self.lock().packs.get_mut(&key).filter(|pack| pack.wake.is_none()) {
                pack.wake = wake.take();
            }
        }
        // The end may have come before anybody was asked to tell of it.
        self.look_at(key, end);
        is_full
    }

    /// Lets go of what has ended.
    fn thin_out(&self, dispatcher: &Arc<Dispatcher>) {
        let keys: Vec<usize> = self.lock().packs.keys().copied().collect();
        for key in keys {
            let taken = self.lock().packs.get_mut(&key).map(|pack| {
                let quarries = std::mem::take(&mut pack.quarries);
                (pack.context.clone(), quarries)
            });
            let Some((context, mut quarries)) = taken else { continue };
            // Looked at with the lock released: that takes the locks of books and passages.
            quarries.retain(|quarry| quarry.is_left(dispatcher));
            if let Some(scope) = context.scope()
                && !quarries.is_empty()
            {
                self.attach(&context, scope, quarries, dispatcher);
            }
        }
        let gone: Vec<Pack> = {
            let mut inside = self.lock();
            let is_empty = |_: &usize, pack: &mut Pack| pack.quarries.is_empty();
            let gone = inside.packs.extract_if(.., is_empty).map(|(_, pack)| pack).collect();
            inside.count = inside.packs.values().map(|pack| pack.quarries.len()).sum();
            inside.full = (inside.count * 2).max(FULL_MIN);
            gone
        };
        drop(gone);
    }

    /// Ends what hangs on this context, if that is over.
    fn look_at(&self, key: usize, dispatcher: &Dispatcher) {
        let found = {
            let mut inside = self.lock();
            let done = inside.packs.get(&key).and_then(|pack| pack.context.reason());
            done.and_then(|done| Some((inside.packs.remove(&key)?, done)))
        };
        if let Some((pack, done)) = found {
            // The newest first: what is asked to stop makes room for those in line behind it.
            pack.quarries.iter().rev().for_each(|quarry| quarry.end(dispatcher, &done));
        }
    }
}

/// Told by the porter that a context is over.
struct Over {
    dispatcher: Weak<Dispatcher>,
    key: usize,
}

impl task::Wake for Over {
    fn wake(self: Arc<Self>) {
        if let Some(dispatcher) = self.dispatcher.upgrade() {
            dispatcher.leashes.look_at(self.key, &dispatcher);
        }
    }
}

impl PartsRef {
    /// Ends the quarry with the context, which has a scope.
    #[cold]
    pub(crate) fn leash(&self, context: &Context, quarry: Quarry) {
        let Some(scope) = context.scope() else { return };
        let (dispatcher, leashes) = (self.dispatcher_of(), &self.dispatcher_of().leashes);
        if leashes.attach(context, scope, vec![quarry], dispatcher) {
            leashes.thin_out(dispatcher);
        }
    }
}

impl std::fmt::Debug for Leashes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leashes").field("count", &self.lock().count).finish_non_exhaustive()
    }
}
