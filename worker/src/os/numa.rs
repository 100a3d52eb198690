//! Numa: which memory node each processor belongs to, as the kernel says in `/sys`.

use std::path::Path;

const NODES: &str = "/sys/devices/system/node";

/// The processors of each memory node that has any, in the order of the nodes, with the kernel's number of each. Empty where
/// the kernel does not tell.
#[must_use]
pub fn nodes() -> Vec<(u32, Vec<u32>)> {
    read(Path::new(NODES))
}

/// Which of [`nodes`] has this processor.
#[must_use]
pub fn place_of(cpu: u32, nodes: &[(u32, Vec<u32>)]) -> Option<u32> {
    let place = nodes.iter().position(|(_, cpus)| cpus.contains(&cpu))?;
    u32::try_from(place).ok()
}

fn read(folder: &Path) -> Vec<(u32, Vec<u32>)> {
    let online = std::fs::read_to_string(folder.join("online")).unwrap_or_default();
    let cpus = |node: u32| {
        let list = std::fs::read_to_string(folder.join(format!("node{node}/cpulist"))).ok()?;
        Some((node, parse(&list))).filter(|(_, cpus)| !cpus.is_empty())
    };
    parse(&online).into_iter().filter_map(cpus).collect()
}

/// Numbers as the kernel lists them: `0-3,8`.
fn parse(list: &str) -> Vec<u32> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse::<u32>().ok()?..=last.parse::<u32>().ok()?.min(1 << 16))
    };
    list.trim().split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_the_kernel_writes_them() {
        assert_eq!(parse("0-3,8,10-11\n"), [0, 1, 2, 3, 8, 10, 11]);
        assert_eq!(parse("\n"), [0_u32; 0]);
        assert_eq!(parse("x,1-,2"), [2]);
    }

    #[test]
    fn a_machine_of_two_nodes_is_read_from_its_files() {
        let folder = std::env::temp_dir().join(format!("gorun-nodes-{}", std::process::id()));
        for (node, cpus) in [(0, "0-1"), (1, "2-3"), (2, "")] {
            std::fs::create_dir_all(folder.join(format!("node{node}"))).unwrap();
            std::fs::write(folder.join(format!("node{node}/cpulist")), cpus).unwrap();
        }
        std::fs::write(folder.join("online"), "0-2\n").unwrap();
        let nodes = read(&folder);
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(nodes, [(0, vec![0, 1]), (1, vec![2, 3])]);
        assert_eq!((place_of(3, &nodes), place_of(9, &nodes)), (Some(1), None));
    }
}
