//! Nodes: which part of a pool lies in which memory node of the machine. A class's regions are dealt out to the nodes in
//! order; a process takes blocks of its own node's regions first.

use super::class::Class;
use super::pool::Blocks;
use super::shape::Shape;
use super::table::Region;
use crate::sync::Ordering;
use std::io;
use std::ops::Range;

const PAGE_BYTES: u64 = 4096;

/// A part of the segment that lies in one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeRange {
    /// Where it begins.
    pub offset: u64,
    /// Bytes, whole pages.
    pub bytes: u64,
    /// Which node, counted from 0.
    pub node: u32,
}

/// The regions of a node, of so many nodes.
pub(super) fn regions_of(node: u32, nodes: u32) -> Range<usize> {
    let nodes = (nodes as usize).clamp(1, Region::COUNT);
    let node = node as usize % nodes;
    node * Region::COUNT / nodes..(node + 1) * Region::COUNT / nodes
}

impl Blocks {
    /// Where the parts of the pool lie on a machine of so many nodes. A class with too few blocks for all nodes is left out:
    /// its memory comes from the node of whoever writes it first.
    #[must_use]
    pub fn node_ranges(&self, nodes: u32) -> Vec<NodeRange> {
        let classes = self.classes().filter(|class| self.table(*class).regions().count() == Region::COUNT);
        let parts = classes.flat_map(|class| (0..nodes.min(8)).map(move |node| (class, node)));
        parts.filter_map(|(class, node)| self.node_range(class, node, nodes)).collect()
    }

    fn node_range(&self, class: Class, node: u32, nodes: u32) -> Option<NodeRange> {
        let regions: Vec<_> = self.table(class).regions().collect();
        let of_node = regions.get(regions_of(node, nodes))?;
        let (first, last) = (of_node.first()?.start, of_node.last()?.end);
        let at = |index: usize| Some(self.shape().offset(class, u32::try_from(index).ok()?));
        // A page that two nodes share is neither's.
        let offset = at(first)?.next_multiple_of(PAGE_BYTES);
        let end = at(last)? / PAGE_BYTES * PAGE_BYTES;
        (end > offset).then(|| NodeRange { offset, bytes: end - offset, node })
    }

    /// Asks the kernel to take each part's memory from its node, where there is some; `nodes` are the kernel's numbers.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn bind_to_nodes(&self, nodes: &[u32]) -> io::Result<()> {
        for range in self.node_ranges(u32::try_from(nodes.len()).unwrap_or(u32::MAX)) {
            let offset = usize::try_from(range.offset).map_err(io::Error::other)?;
            let bytes = usize::try_from(range.bytes).map_err(io::Error::other)?;
            self.segment().mapping().prefer_node(offset, bytes, nodes[range.node as usize])?;
        }
        Ok(())
    }

    /// This process takes blocks of this node first, counted from 0, of so many.
    pub fn settle(&self, node: u32, nodes: u32) {
        let regions = regions_of(node, nodes);
        let word = u32::try_from(regions.start | regions.len() << 8).unwrap_or(0);
        self.home.store(word, Ordering::Relaxed); // Relaxed: a preference.
    }

    /// The region in which the process of this number looks first.
    #[inline]
    pub(super) fn home(&self, number: u8) -> usize {
        // Relaxed: a preference.
        match self.home.load(Ordering::Relaxed) {
            0 => usize::from(number) % Region::COUNT,
            word => (word & 0xFF) as usize + usize::from(number) % (word >> 8).max(1) as usize,
        }
    }
}

impl Shape {
    /// Offset of the pool's record.
    #[must_use]
    pub fn record_offset(&self) -> u64 {
        self.start
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::{Limits, OwnedBlock};
    use crate::owner::OwnerId;
    use crate::segment::Segment;
    use std::sync::Arc;

    const LIMITS: Limits = Limits { small: 1024, medium: 128, large: 4, huge: 0, largest_bytes: 4 << 20 };

    fn blocks() -> Arc<Blocks> {
        let (shape, end) = Shape::plan(0, &LIMITS);
        let segment = Segment::create("nodes", usize::try_from(end).unwrap()).unwrap();
        Blocks::new(segment, shape).unwrap()
    }

    #[test]
    fn every_region_has_one_node() {
        for nodes in 1..=8_u32 {
            let dealt: Vec<usize> = (0..nodes).flat_map(|node| regions_of(node, nodes)).collect();
            assert_eq!(dealt, (0..Region::COUNT).collect::<Vec<_>>(), "{nodes} nodes");
        }
        assert_eq!(regions_of(11, 64), 3..4);
    }

    #[test]
    fn the_plan_deals_pages_out_and_none_twice() {
        let blocks = blocks();
        for nodes in [2, 3, 8] {
            let mut ranges = blocks.node_ranges(nodes);
            ranges.sort_by_key(|range| range.offset);
            assert!(ranges.iter().all(|range| range.offset % 4096 == 0 && range.bytes % 4096 == 0));
            assert!(ranges.windows(2).all(|pair| pair[0].offset + pair[0].bytes <= pair[1].offset));
            let bytes_of =
                |node| ranges.iter().filter(|range| range.node == node).map(|range| range.bytes).sum::<u64>();
            let bytes: Vec<u64> = (0..nodes).map(bytes_of).collect();
            assert!(
                bytes.iter().max() <= bytes.iter().min().map(|least| least * 2).as_ref(),
                "{nodes} nodes: {bytes:?}"
            );
        }
    }

    #[test]
    fn who_has_settled_takes_blocks_of_its_node() {
        let blocks = blocks();
        let owner = OwnerId::worker(5).unwrap();
        for node in [1, 0] {
            blocks.settle(node, 2);
            let block = OwnedBlock::allocate(&blocks, 8192, owner).unwrap();
            let at = block.handle().offset();
            let ranges = blocks.node_ranges(2);
            let found = ranges.iter().find(|range| (range.offset..range.offset + range.bytes).contains(&at));
            assert_eq!(found.map(|range| range.node), Some(node));
        }
    }

    #[test]
    fn the_kernel_takes_the_plan() {
        let blocks = blocks();
        let is_numa = std::fs::exists("/proc/self/numa_maps").unwrap_or(false);
        match blocks.bind_to_nodes(&[0, 0]) {
            Ok(()) if is_numa => {
                let base = blocks.segment().mapping().base().addr().get() as u64;
                let range = blocks.node_ranges(2)[1];
                let maps = std::fs::read_to_string("/proc/self/numa_maps").unwrap();
                let line = maps.lines().find(|line| line.starts_with(&format!("{:x} ", base + range.offset)));
                assert!(maps.contains("prefer:0"), "{line:?} of {maps}");
            }
            bound => println!("no memory policies here: {bound:?}"),
        }
    }
}
