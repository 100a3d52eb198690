//! Plan: which member ought to own which lane, and which partitions to move so that members have about the same to do.
//! Pure, and the same in every process.

use super::hash::rendezvous;
use gorun_shm::partitions::{MemberId, Table};

/// The member that ought to own `lane`, of those that live. An inbox is its place's; else a pin decides, else the hash.
pub(super) fn wanted(table: Table<'_>, lane: usize, live: &[MemberId]) -> Option<MemberId> {
    let at_home = lane
        .checked_sub(table.partition_count())
        .and_then(|slot| live.iter().find(|member| member.slot() == slot));
    let pinned = || table.pin(lane).filter(|member| live.contains(member));
    at_home.copied().or_else(pinned).or_else(|| by_hash(lane, live))
}

/// By place, not by generation: who comes after a dead member gets what that had.
fn by_hash(lane: usize, live: &[MemberId]) -> Option<MemberId> {
    rendezvous(lane as u64, live.iter().copied(), |member| member.slot() as u64)
}

/// Which partitions to give to whom: as few as make members about equal, by the weights of their partitions. From one
/// `owners[p]` to another of `members`; no partition twice.
pub(super) fn even_out<M: Copy + Eq>(weights: &[u64], owners: &[M], members: &[M]) -> Vec<(usize, M)> {
    let mut owners: Vec<M> = owners.to_vec();
    let mut is_moved = vec![false; owners.len()];
    let mut moves = Vec::new();
    let load_of = |owners: &[M], member: M| -> u64 {
        owners
            .iter()
            .zip(weights)
            .filter(|(owner, _)| **owner == member)
            .fold(0, |sum, (_, weight)| sum.saturating_add(*weight))
    };
    while moves.len() < weights.len() {
        let loads = || members.iter().map(|member| (load_of(&owners, *member), *member));
        let (Some((most, from)), Some((least, to))) =
            (loads().max_by_key(|(load, _)| *load), loads().min_by_key(|(load, _)| *load))
        else {
            break;
        };
        let gap = most - least;
        let movable = |partition: &usize| {
            owners[*partition] == from && !is_moved[*partition] && (1..gap).contains(&weights[*partition])
        };
        // The one that leaves both nearest to each other.
        let chosen =
            (0..owners.len()).filter(movable).min_by_key(|partition| (gap / 2).abs_diff(weights[*partition]));
        let Some(partition) = chosen else { break };
        owners[partition] = to;
        is_moved[partition] = true;
        moves.push((partition, to));
    }
    moves
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn loads(weights: &[u64], owners: &[usize], members: usize) -> Vec<u64> {
        let mut loads = vec![0; members];
        owners.iter().zip(weights).for_each(|(owner, weight)| loads[*owner] += weight);
        loads
    }

    fn spread(loads: &[u64]) -> u64 {
        loads.iter().max().unwrap() - loads.iter().min().unwrap()
    }

    proptest! {
        #[test]
        fn evening_out_helps_moves_each_at_most_once_and_is_done_then(
            parts in prop::collection::vec((1..100_u64, 0..8_usize), 1..64),
            members in 1..8_usize,
        ) {
            let weights: Vec<u64> = parts.iter().map(|(weight, _)| *weight).collect();
            let mut owners: Vec<usize> = parts.iter().map(|(_, owner)| owner % members).collect();
            let all: Vec<usize> = (0..members).collect();
            let before = loads(&weights, &owners, members);
            let moves = even_out(&weights, &owners, &all);
            let mut moved: Vec<usize> = moves.iter().map(|(partition, _)| *partition).collect();
            for (partition, to) in &moves {
                prop_assert_ne!(owners[*partition], *to);
                owners[*partition] = *to;
            }
            moved.sort_unstable();
            moved.dedup();
            prop_assert_eq!(moved.len(), moves.len(), "a partition moved twice");
            let after = loads(&weights, &owners, members);
            prop_assert!(after.iter().max() <= before.iter().max());
            prop_assert!(spread(&after) <= spread(&before));
            prop_assert_eq!(moves.is_empty(), before == after);
        }

        #[test]
        fn equal_partitions_are_shared_out_equally_with_the_fewest_moves(
            owners in prop::collection::vec(0..8_usize, 1..64),
            members in 1..8_usize,
        ) {
            let mut owners: Vec<usize> = owners.iter().map(|owner| owner % members).collect();
            let weights = vec![1; owners.len()];
            let before = loads(&weights, &owners, members);
            let moves = even_out(&weights, &owners, &(0..members).collect::<Vec<_>>());
            moves.iter().for_each(|(partition, to)| owners[*partition] = *to);
            prop_assert!(spread(&loads(&weights, &owners, members)) <= 1);
            let (fair, rest) = ((weights.len() / members) as u64, weights.len() % members);
            // The members with the most keep one more than the others.
            let mut sorted = before;
            sorted.sort_unstable_by(|a, b| b.cmp(a));
            let surplus = |(index, load): (usize, &u64)| load.saturating_sub(fair + u64::from(index < rest));
            let fewest: u64 = sorted.iter().enumerate().map(surplus).sum();
            prop_assert_eq!(moves.len() as u64, fewest);
        }
    }
}
