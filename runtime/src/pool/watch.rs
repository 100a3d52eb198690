//! Watch: the thread that hears of deaths first, and of awaited tasks that have ended.
//!
//! It sleeps on the workers' death words, which the kernel marks and wakes within microseconds of a death, and
//! on the host's bell, which workers ring after a notice.

use super::Pool;
use crate::patrol;
use gorun_shm::doorbell::Doorbell;
use gorun_shm::os::{futex, ticks};
use gorun_shm::ring::spsc::{Consumer, RingHeader};
use gorun_shm::segment::{View, ViewSlice};
use gorun_shm::sync::{AtomicU32, AtomicU64};
use gorun_worker::os::death_word::{self, Sign};
use gorun_worker::os::pidfd;
use gorun_worker::wire::control::Intent;
use std::time::Duration;

type Notices = Option<Consumer<u64, (View<RingHeader>, ViewSlice<AtomicU64>)>>;

/// Pause between two looks at the workers' memory, where it has a limit. At the 10 GB a second of fast page faults a
/// bomb grows by 100 MB in it.
const MEMORY_LOOK_NS: u64 = 10_000_000;

/// Serves until the pool stops.
pub(super) fn run(pool: &Pool) {
    let mut notices: Vec<Notices> = (0..pool.commons.map.shape.records)
        .map(|record| Consumer::attach(pool.commons.notices(record)?).ok())
        .collect();
    let mut dropped_seen = 0;
    let (mut round_due, mut look_due, mut checkup_due) = (None, 0, None);
    while !pool.is_stopping() {
        let until_round = walk_round(pool, &mut round_due);
        pool.dispatcher.expire();
        let until_look = check_memory(pool, &mut look_due);
        let until_checkup = pool.check_up(&mut checkup_due);
        let armed = pool.commons.host.bell.arm();
        // From here on every ring is heard: first what may have been asked for since the last look.
        kill_condemned(pool);
        let watched = pool.lock().roster.watched();
        let signs: Vec<(u16, Sign)> = watched.iter().map(|record| (*record, sign(pool, *record))).collect();
        let mut busy = bury_dead(pool, &signs);
        busy |= drain(pool, &mut notices, &mut dropped_seen);
        busy |= pool.commons.host.take_call() && pool.rouse_waiting();
        if busy || pool.is_stopping() {
            pool.commons.host.bell.disarm();
            continue;
        }
        let until_due = pool
            .dispatcher
            .deadlines
            .next_ns()
            .map(|due| Duration::from_nanos(due.saturating_sub(ticks::system_ns())));
        let until_owed = pool.dispatcher.home.pay(&pool.commons);
        let limit =
            [until_round, until_due, until_look, until_checkup, until_owed].into_iter().flatten().min();
        sleep(pool, Doorbell::expected(armed), &signs, limit);
        pool.commons.host.bell.disarm();
    }
}

/// Walks a round if one is due; gives the time until the next, if anybody waits at all.
fn walk_round(pool: &Pool, due_ns: &mut Option<u64>) -> Option<Duration> {
    if !pool.dispatcher.is_patrolled() {
        *due_ns = None;
        return None;
    }
    let now = ticks::system_ns();
    let due = *due_ns.get_or_insert(now + patrol::ROUND_NS);
    if now >= due {
        pool.dispatcher.walk_round();
        *due_ns = Some(now + patrol::ROUND_NS);
    }
    Some(Duration::from_nanos(due.saturating_sub(now).max(1)))
}

/// Looks at the workers' memory if that is asked for and due; gives the time until the next look.
fn check_memory(pool: &Pool, due_ns: &mut u64) -> Option<Duration> {
    let limit = pool.config.memory_max?;
    let now = ticks::system_ns();
    if now >= *due_ns {
        pool.check_memory(limit);
        *due_ns = now + MEMORY_LOOK_NS;
    }
    Some(Duration::from_nanos(*due_ns - now))
}

/// Kills the workers whose tasks were taken from them. They die like others: seen, buried, replaced.
fn kill_condemned(pool: &Pool) {
    for (record, birth) in pool.dispatcher.to_be_killed() {
        pool.kill_worker(record, birth);
    }
}

fn sign(pool: &Pool, record: u16) -> Sign {
    death_word::sign(&pool.commons.workers[usize::from(record)].death_word)
}

fn bury_dead(pool: &Pool, signs: &[(u16, Sign)]) -> bool {
    let dead: Vec<u16> =
        signs.iter().filter(|(_, sign)| *sign == Sign::Dead).map(|(record, _)| *record).collect();
    if dead.is_empty() {
        return false;
    }
    let mut state = pool.lock();
    let mut any = false;
    for record in dead {
        if let Some((_, pidfd, _)) = state.pidfds.get(&record) {
            // Whoever has let go of the word is dying anyway; one whose word was scribbled over must not live on.
            let _ = pidfd::kill(pidfd);
        }
        let passing = pool.passing(&state, record);
        pool.dispatcher.end_condemned(record);
        let actions = state.roster.dying(record, passing, ticks::system_ns());
        any |= !actions.is_empty();
        pool.carry_out(&mut state, actions);
    }
    // A dead worker that the zygote has not announced yet is left to the reactor.
    any
}

fn drain(pool: &Pool, notices: &mut [Notices], dropped_seen: &mut u64) -> bool {
    let mut any = false;
    for ring in notices.iter_mut().flatten() {
        // A corrupt ring was written by a worker gone wild; its notices are found by `notice_all` below.
        while let Ok(Some(word)) = ring.try_pop() {
            let intent = Intent::from_word(word);
            pool.dispatcher.notice(intent.lane, |tail| intent.position_near(tail));
            any = true;
        }
    }
    let dropped = pool.commons.host.notices_dropped.get();
    if dropped != *dropped_seen {
        *dropped_seen = dropped;
        pool.dispatcher.notice_all();
        any = true;
    }
    any
}

fn sleep(pool: &Pool, bell: u32, signs: &[(u16, Sign)], limit: Option<Duration>) {
    let mut words: Vec<(&AtomicU32, u32)> = vec![(pool.commons.host.bell.word(), bell)];
    for (record, sign) in signs.iter().take(futex::WORDS_MAX - 1) {
        let word = death_word::futex(&pool.commons.workers[usize::from(*record)].death_word);
        let expected = match sign {
            Sign::Alive(value) => *value,
            Sign::Unborn => 0,
            Sign::Dead => continue,
        };
        words.push((word, expected));
    }
    futex::wait_any(&words, limit);
}
