//! Tree: a topology, and who runs where, as lines for a person.

use super::{Cpu, Plan, Source, Topology};
use std::fmt::{self, Write};

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_tree(&Plan::default()))
    }
}

impl Topology {
    /// The machine as a tree, with the seats of `plan` at the processors or groups they may use.
    #[must_use]
    pub fn to_tree(&self, plan: &Plan) -> String {
        let mut text = String::new();
        self.write(plan, &mut text).map_or_else(|_| String::new(), |()| text)
    }

    fn write(&self, plan: &Plan, out: &mut String) -> fmt::Result {
        let packages: Vec<_> = self.cpus.chunk_by(|one, other| one.package == other.package).collect();
        for cpus in packages {
            writeln!(out, "package {}", cpus[0].package)?;
            for cpus in cpus.chunk_by(|one, other| one.node == other.node) {
                let node = &self.nodes[cpus[0].node as usize];
                let memory =
                    node.memory_bytes.map_or_else(String::new, |bytes| format!(", {}", units(bytes)));
                let seats = seats_at(plan, cpus, |cpu| cpu.l3);
                writeln!(out, "  node {}{memory}{seats}", node.id)?;
                for cpus in cpus.chunk_by(|one, other| one.l3 == other.l3) {
                    let bytes = self.l3_bytes.get(cpus[0].l3 as usize).copied().flatten();
                    let bytes = bytes.map_or_else(String::new, |bytes| format!(", {}", units(bytes)));
                    let seats = seats_at(plan, cpus, |cpu| cpu.core);
                    writeln!(out, "    cache {}{bytes}{seats}", cpus[0].l3)?;
                    for cpus in cpus.chunk_by(|one, other| one.core == other.core) {
                        write!(out, "      core {:<4}", cpus[0].core)?;
                        for cpu in cpus {
                            let seats = seats_of(plan, std::slice::from_ref(cpu));
                            write!(out, " cpu {:<4}{seats}", cpu.id)?;
                        }
                        out.push_str(&seats_at(plan, cpus, |cpu| cpu.id));
                        let length = out.trim_end().len();
                        out.truncate(length);
                        out.push('\n');
                    }
                }
            }
        }
        if self.source == Source::Unknown {
            writeln!(out, "the kernel tells nothing of cores, caches and nodes here")?;
        }
        Ok(())
    }
}

/// The seats whose processors are exactly these, unless all of them are one part: then they stand at that.
fn seats_at(plan: &Plan, cpus: &[Cpu], part: impl Fn(&Cpu) -> u32) -> String {
    let is_one_part = cpus.iter().all(|cpu| part(cpu) == part(&cpus[0]));
    if is_one_part { String::new() } else { seats_of(plan, cpus) }
}

/// The seats whose processors are exactly these.
fn seats_of(plan: &Plan, cpus: &[Cpu]) -> String {
    let here = cpus.iter().map(|cpu| cpu.id).collect();
    let seats: Vec<_> = (0..plan.seats().len()).filter(|seat| plan.seats()[*seat].cpus == here).collect();
    match seats.as_slice() {
        [] => String::new(),
        [seat] => format!(" <- worker {seat}"),
        seats => {
            format!(" <- workers {}", seats.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn units(bytes: u64) -> String {
    match bytes {
        0..=0x0F_FFFF => format!("{} KiB", bytes >> 10),
        0x10_0000..=0x3FFF_FFFF => format!("{} MiB", bytes >> 20),
        _ => format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Placement, Smt};
    use super::*;

    #[test]
    fn seats_stand_where_they_may_run() {
        let machine = Topology::synthetic("node:2 core:2 pu:2").unwrap();
        let plan = Plan::new(&machine, &Placement::PerCore, Smt::Spread, 5).unwrap();
        let expected = "\
package 0
  node 0
    cache 0
      core 0    cpu 0    <- worker 0 cpu 1    <- worker 4
      core 1    cpu 2    <- worker 1 cpu 3
  node 1
    cache 1
      core 2    cpu 4    <- worker 2 cpu 5
      core 3    cpu 6    <- worker 3 cpu 7
";
        assert_eq!(machine.to_tree(&plan), expected);
        let plan = Plan::new(&machine, &Placement::PerNode, Smt::Spread, 3).unwrap();
        assert!(machine.to_tree(&plan).contains("cache 0 <- workers 0, 1\n"));
        assert!(!machine.to_string().contains("worker"));
    }

    #[test]
    fn sizes_take_the_unit_they_fit() {
        assert_eq!([units(512 << 10), units(32 << 20), units(24 << 30)], ["512 KiB", "32 MiB", "24.0 GiB"]);
    }
}
