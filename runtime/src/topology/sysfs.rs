//! Sysfs: the topology as the kernel shows it under `/sys/devices/system`. See sysfs-devices-system-cpu in the kernel's ABI
//! documentation.
//!
//! Whatever is missing or not understood costs the relation it would tell of, never the processors.

use super::{Cpu, Node, Source, Topology};
use gorun_worker::cpu_set::CpuSet;
use std::collections::BTreeMap;
use std::path::Path;

/// Cache levels looked for, the last is the one that counts.
const CACHES: usize = 8;

/// The topology under `root`; none if not even the processors are listed.
pub(super) fn read(root: &Path) -> Option<Topology> {
    let online = list(&root.join("cpu/online")).filter(|cpus| !cpus.is_empty())?;
    let found: Vec<Found> = online.iter().map(|cpu| Found::read(root, cpu)).collect();
    let nodes = read_nodes(root);
    let node_of = |cpu: u32| nodes.iter().position(|(_, cpus)| cpus.contains(cpu)).unwrap_or(0);
    let keyed = found.iter().map(|found| {
        let node = node_of(found.id);
        ((found.package, node, found.cache, found.siblings.first(), found.id), found)
    });
    // In the order in which they are numbered: by package, node, cache, core, thread.
    let ordered: BTreeMap<_, _> = keyed.collect();
    let (mut packages, mut caches, mut cores) = (Numbers::default(), Numbers::default(), Numbers::default());
    let mut l3_bytes = Vec::new();
    let mut cpus: Vec<Cpu> = Vec::with_capacity(ordered.len());
    for ((package, node, cache, core, id), found) in ordered {
        let package = packages.number(package);
        let l3 = caches.number((package, node, cache));
        let core = cores.number((package, l3, core));
        if l3 as usize == l3_bytes.len() {
            l3_bytes.push(found.cache_bytes);
        }
        let thread = cpus.iter().rev().take_while(|cpu| cpu.core == core).count();
        let (thread, node) = (narrow(thread), narrow(node));
        cpus.push(Cpu { id, thread, core, l3, node, package });
    }
    let nodes = nodes.into_iter().map(|(node, _)| node).collect();
    Some(Topology { source: Source::Sysfs, nodes, l3_bytes, cpus })
}

/// Numbers things in the order in which they come; equal ones stand together.
#[derive(Debug)]
struct Numbers<T> {
    last: Option<T>,
    next: u32,
}

impl<T> Default for Numbers<T> {
    fn default() -> Self {
        Self { last: None, next: 0 }
    }
}

impl<T: PartialEq> Numbers<T> {
    fn number(&mut self, thing: T) -> u32 {
        if self.last.as_ref() != Some(&thing) {
            self.last = Some(thing);
            self.next += 1;
        }
        self.next - 1
    }
}

/// What the kernel says of one processor.
#[derive(Debug)]
struct Found {
    id: u32,
    package: u32,
    /// Its core's processors.
    siblings: CpuSet,
    /// Lowest processor under its last-level cache.
    cache: Option<u32>,
    cache_bytes: Option<u64>,
}

impl Found {
    fn read(root: &Path, id: u32) -> Self {
        let folder = root.join(format!("cpu/cpu{id}"));
        let siblings = ["core_cpus_list", "thread_siblings_list"];
        let siblings = siblings.iter().find_map(|name| list(&folder.join("topology").join(name)));
        let caches = (0..CACHES).map(|index| folder.join(format!("cache/index{index}")));
        // Instructions have caches of their own.
        let caches =
            caches.filter(|cache| text(&cache.join("type")).is_some_and(|kind| kind != "Instruction"));
        let last = caches.max_by_key(|cache| number(&cache.join("level")).unwrap_or(0));
        // Below level 3 a cache is one core's, or few cores': without one, all of a package count as together.
        let last = last.filter(|cache| number(&cache.join("level")).is_some_and(|level| level >= 3));
        Self {
            id,
            package: number(&folder.join("topology/physical_package_id")).unwrap_or(0),
            siblings: siblings.filter(|cpus| cpus.contains(id)).unwrap_or_else(|| CpuSet::from_iter([id])),
            cache: last.as_ref().and_then(|cache| list(&cache.join("shared_cpu_list"))?.first()),
            cache_bytes: last.as_ref().and_then(|cache| size(&text(&cache.join("size"))?)),
        }
    }
}

/// The nodes that have processors or memory; one if the kernel knows of none.
fn read_nodes(root: &Path) -> Vec<(Node, CpuSet)> {
    let online = list(&root.join("node/online")).unwrap_or_default();
    let node = |id| {
        let folder = root.join(format!("node/node{id}"));
        let distances = text(&folder.join("distance")).unwrap_or_default();
        let node = Node {
            id,
            memory_bytes: memory(&folder.join("meminfo")),
            distances: distances.split_whitespace().filter_map(|distance| distance.parse().ok()).collect(),
        };
        (node, list(&folder.join("cpulist")).unwrap_or_default())
    };
    let nodes: Vec<_> = online.iter().map(node).collect();
    if nodes.is_empty() {
        return vec![(Node { id: 0, memory_bytes: None, distances: Vec::new() }, CpuSet::default())];
    }
    nodes
}

fn text(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn list(path: &Path) -> Option<CpuSet> {
    text(path)?.parse().ok()
}

fn number(path: &Path) -> Option<u32> {
    text(path)?.parse().ok()
}

/// `MemTotal` of a node, in bytes: `Node 0 MemTotal: 24678496 kB`.
fn memory(path: &Path) -> Option<u64> {
    let text = text(path)?;
    let line = text.lines().find(|line| line.contains("MemTotal:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(3)?.parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// Bytes of `32768K` or `16M`.
fn size(text: &str) -> Option<u64> {
    let unit = match text.chars().last()? {
        'K' => 1 << 10,
        'M' => 1 << 20,
        _ => return text.parse().ok(),
    };
    text[..text.len() - 1].parse::<u64>().ok()?.checked_mul(unit)
}

/// Indices of processors fit: there are at most [`CpuSet::CPUS_MAX`].
fn narrow(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// A made-up sysfs, gone with the test.
    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Self {
            let root = std::env::temp_dir().join(format!("gorun-sysfs-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&root).unwrap();
            Self(root)
        }

        fn write(&self, path: &str, text: &str) -> &Self {
            let path = self.0.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
            self
        }

        fn cpu(&self, id: u32, package: u32, siblings: &str, l3: &str) -> &Self {
            let folder = format!("cpu/cpu{id}");
            self.write(&format!("{folder}/topology/physical_package_id"), &format!("{package}\n"))
                .write(&format!("{folder}/topology/core_cpus_list"), &format!("{siblings}\n"))
                .write(&format!("{folder}/cache/index0/level"), "1\n")
                .write(&format!("{folder}/cache/index0/type"), "Data\n")
                .write(&format!("{folder}/cache/index1/level"), "1\n")
                .write(&format!("{folder}/cache/index1/type"), "Instruction\n")
                .write(&format!("{folder}/cache/index3/level"), "3\n")
                .write(&format!("{folder}/cache/index3/type"), "Unified\n")
                .write(&format!("{folder}/cache/index3/size"), "32768K\n")
                .write(&format!("{folder}/cache/index3/shared_cpu_list"), &format!("{l3}\n"))
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn siblings_far_apart_in_number_are_of_one_core() {
        let tree = Tree::new("smt");
        tree.write("cpu/online", "0-7\n").write("node/online", "0-1\n");
        for id in 0..8_u32 {
            let package = id % 4 / 2;
            let siblings = format!("{},{}", id % 4, id % 4 + 4);
            let l3 = if package == 0 { "0-1,4-5" } else { "2-3,6-7" };
            tree.cpu(id, package, &siblings, l3);
        }
        tree.write("node/node0/cpulist", "0-1,4-5\n").write("node/node1/cpulist", "2-3,6-7\n");
        tree.write("node/node0/distance", "10 21\n").write("node/node1/distance", "21 10\n");
        tree.write("node/node0/meminfo", "Node 0 MemTotal:   1000 kB\nNode 0 MemFree: 1 kB\n");
        let machine = read(&tree.0).unwrap();
        let cpus: Vec<_> =
            machine.cpus.iter().map(|cpu| (cpu.id, cpu.thread, cpu.core, cpu.l3, cpu.node)).collect();
        assert_eq!(
            cpus,
            [
                (0, 0, 0, 0, 0),
                (4, 1, 0, 0, 0),
                (1, 0, 1, 0, 0),
                (5, 1, 1, 0, 0),
                (2, 0, 2, 1, 1),
                (6, 1, 2, 1, 1),
                (3, 0, 3, 1, 1),
                (7, 1, 3, 1, 1)
            ]
        );
        assert_eq!(machine.nodes[0].memory_bytes, Some(1_024_000));
        assert_eq!(machine.nodes[1].distances, [21, 10]);
        assert_eq!(machine.l3_bytes, [Some(32 << 20), Some(32 << 20)]);
        assert_eq!(machine.packages(), 2);
    }

    #[test]
    fn what_is_missing_costs_only_what_it_would_tell() {
        let tree = Tree::new("bare");
        assert_eq!(read(&tree.0), None);
        tree.write("cpu/online", "0,2-3\n");
        let machine = read(&tree.0).unwrap();
        assert_eq!((machine.cores(), machine.l3s(), machine.nodes.len()), (3, 1, 1));
        tree.write("cpu/online", "not a list\n");
        assert_eq!(read(&tree.0), None);
    }

    #[test]
    fn nonsense_is_not_believed() {
        let tree = Tree::new("nonsense");
        tree.write("cpu/online", "0-1\n").cpu(0, 0, "5", "x").cpu(1, 0, "", "");
        tree.write("cpu/cpu0/cache/index3/size", "K\n").write("node/online", "0\n");
        tree.write("node/node0/meminfo", "Node 0 MemTotal: 99999999999999999999 kB\n");
        let machine = read(&tree.0).unwrap();
        assert_eq!(machine.cores(), 2);
        assert_eq!(machine.nodes[0].memory_bytes, None);
        assert_eq!(machine.l3_bytes, [None]);
    }
}
