//! Numbers of a distributed channel.

use super::MemberId;
use super::desk::Desk;
use super::plan;
use gorun_shm::sync::Ordering;

/// Numbers of a distributed channel, all processes together. Stale as soon as they are read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DistributedStats {
    /// Each partition, in order.
    pub partitions: Vec<PartitionStats>,
    /// Each member, lowest place first.
    pub members: Vec<MemberStats>,
    /// How often members have come, gone, died, or been given other partitions.
    pub changes: u64,
}

/// Numbers of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionStats {
    /// Whose it is; nobody's while it changes hands, or without members.
    pub owner: Option<MemberId>,
    /// How often it has become somebody's.
    pub claims: u64,
    /// Messages in it now.
    pub waiting: usize,
    /// Messages that were ever sent into it, those given up among them.
    pub sent: u64,
    /// Of those, the ones received.
    pub received: u64,
}

/// Numbers of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberStats {
    /// Which member.
    pub id: MemberId,
    /// Partitions it has.
    pub partitions: usize,
    /// Messages received from partitions of its own, its predecessors in this place included.
    pub own: u64,
    /// Messages received from partitions of others, its predecessors in this place included.
    pub helped: u64,
}

/// A partition that `balance` gave to another member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// Its number.
    pub partition: usize,
    /// Whose it was.
    pub from: MemberId,
    /// Whose it will be, as soon as its owner asks for another message.
    pub to: MemberId,
}

/// Messages in a partition: waiting now, sent ever, received ever.
pub(super) type Traffic = (usize, u64, u64);

impl Desk {
    pub(super) fn stats(&self, traffic: impl Iterator<Item = Traffic>) -> DistributedStats {
        let table = self.table();
        let of_partition = |(partition, (waiting, sent, received)): (usize, Traffic)| PartitionStats {
            owner: table.owner(partition),
            claims: table.claims(partition),
            waiting,
            sent,
            received,
        };
        let partitions: Vec<_> = traffic.enumerate().map(of_partition).collect();
        let of_member = |id: MemberId| {
            let line = table.line(id.slot());
            MemberStats {
                id,
                partitions: partitions.iter().filter(|partition| partition.owner == Some(id)).count(),
                own: line.map_or(0, |line| line.own.get()),
                helped: line.map_or(0, |line| line.helped.get()),
            }
        };
        let members = table.live().map(of_member).collect();
        DistributedStats { members, partitions, changes: table.epoch() }
    }

    /// Gives partitions to other members so that each has about the same traffic: what was sent into its partitions since
    /// the last time.
    pub(super) fn balance(&self, sent: impl Iterator<Item = u64>) -> Vec<Moved> {
        let (table, live) = (self.table(), self.live());
        if self.is_foreign() || live.len() < 2 {
            return Vec::new();
        }
        let since = |(partition, sent): (usize, u64)| {
            // Relaxed: a number that only balancers use; two at once may both count it.
            let before = table.counted(partition).map_or(0, |counted| counted.swap(sent, Ordering::Relaxed));
            // One more, so that idle partitions are spread too.
            sent.saturating_sub(before).saturating_add(1)
        };
        let weights: Vec<u64> = sent.enumerate().map(since).collect();
        let wanted = |partition| plan::wanted(table, partition, &live).unwrap_or(live[0]);
        let owners: Vec<MemberId> = (0..weights.len()).map(wanted).collect();
        let moves = plan::even_out(&weights, &owners, &live);
        moves.iter().for_each(|(partition, to)| table.pin_to(*partition, *to));
        if !moves.is_empty() {
            table.proclaim();
        }
        let moved = |(partition, to): (usize, MemberId)| Moved { partition, from: owners[partition], to };
        moves.into_iter().map(moved).collect()
    }
}
