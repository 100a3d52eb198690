//! What must hold in every world, whatever has gone wrong in it.

use super::super::roster::Action;
use super::world::World;
use crate::supervision::Restart;

impl World {
    /// What the roster asks for can be done.
    pub(super) fn check_legal(&mut self, action: &Action) {
        match *action {
            Action::Fork { record, seat } => {
                self.check_vacant(record);
                assert!(
                    seat.is_none_or(|seat| self.roster.sitting(seat).record == Some(record)),
                    "{action:?}"
                );
            }
            Action::Bury { pid, record, .. } => {
                assert!(pid == 0 || self.buried.insert(pid), "buried twice: {action:?}");
                assert!(
                    !self.threads.iter().any(|(thread, _)| *thread == record),
                    "a thread is there: {action:?}"
                );
                assert!(
                    self.process(pid).is_none_or(|process| !process.is_alive),
                    "buried alive: {action:?}"
                );
            }
            Action::Assign { record, seat } => {
                assert_eq!(self.roster.sitting(seat).record, Some(record), "{action:?}");
            }
            Action::Degrade { seat } => {
                assert!(self.roster.sitting(seat).record.is_none(), "somebody sits there: {action:?}");
            }
            Action::Recall { record } => {
                assert!(self.threads.contains(&(record, false)), "no thread to be recalled: {action:?}");
            }
            _ => {}
        }
    }

    /// A record is used again only when its last worker was buried.
    fn check_vacant(&mut self, record: u16) {
        if let Some(pid) = self.tenant(record) {
            assert!(self.buried.contains(&pid), "record {record} is {pid}'s, who is not buried");
        }
        assert!(!self.threads.iter().any(|(thread, _)| *thread == record), "record {record} is a thread's");
    }

    /// After every step.
    pub(super) fn check(&mut self) {
        let mut records: Vec<u16> = self
            .processes
            .iter()
            .filter(|living| living.is_alive && living.has_moved_in)
            .map(|living| living.record)
            .collect();
        records.sort_unstable();
        assert!(records.windows(2).all(|pair| pair[0] != pair[1]), "two workers live in one record");
        let mut sitting: Vec<u16> =
            (0..self.terms.seats).filter_map(|seat| self.roster.sitting(seat).record).collect();
        sitting.sort_unstable();
        assert!(sitting.windows(2).all(|pair| pair[0] != pair[1]), "one worker sits in two seats");
        assert_eq!(self.roster.has_threads(), !self.threads.is_empty(), "threads");
        assert!(self.told.exhausted <= 1, "exhausted twice");
        self.check_someone_will_serve();
        self.check_forks();
    }

    /// Nobody is there to run a task only if that is over soon, or for good.
    fn check_someone_will_serve(&self) {
        if !self.roster.is_alone() || self.told.exhausted > 0 || self.roster.resting() > 0 {
            return;
        }
        // A burial that is to come frees a record.
        let waits = self.roster.processes().iter().any(|(_, pid)| !self.buried.contains(pid));
        let soon = self.roster.due_ns().is_some_and(|due| due <= self.now_ns + super::ALONE_NS);
        assert!(soon || waits, "nobody serves and nothing is due: {:?}", self.roster);
    }

    /// Every place bears so many crashes in each period, and is tried again after a pause at the least.
    fn check_forks(&self) {
        let (terms, told) = (&self.terms, &self.told);
        let places = u64::from(terms.seats) + u64::from(terms.spares) + 1;
        let periods = self.now_ns / terms.intensity.period_ns + 1;
        let borne = places * periods * (u64::from(terms.intensity.crashes_max) + 1);
        let tried_again = places * (self.now_ns / 10_000_000 + 1);
        let most = places + told.excused + borne + tried_again;
        assert!(told.forks <= most, "{} forks, at most {most}", told.forks);
    }

    /// Everything is as it was at the beginning, as far as the restart policy allows it.
    pub(super) fn has_recovered(&mut self) -> bool {
        let seats = (0..self.terms.seats).all(|seat| {
            let sitting = self.roster.sitting(seat);
            let lives = sitting.pid.and_then(|pid| self.process(pid)).is_some_and(|process| process.is_alive);
            lives || self.roster.is_retired(seat)
        });
        let all_buried = self
            .processes
            .iter()
            .all(|process| process.is_alive || !process.has_moved_in || self.buried.contains(&process.pid));
        let spares =
            if self.terms.restart == Restart::Temporary { 0 } else { usize::from(self.terms.spares) };
        seats && all_buried && self.threads.is_empty() && self.roster.spare_count() >= spares
    }

    pub(super) fn check_recovered(&mut self) {
        assert!(self.has_recovered(), "not recovered: {self:?}");
        let retired = (0..self.terms.seats).filter(|seat| self.roster.is_retired(*seat)).count();
        assert_eq!(self.told.exhausted > 0, retired == usize::from(self.terms.seats));
        assert!(self.terms.restart != Restart::Permanent || retired == 0, "a seat was given up");
    }
}
