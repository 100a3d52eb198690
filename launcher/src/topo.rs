//! `gorun topo`: the machine's processors, and where the workers of a runtime would run.

use crate::{complain, exit};
use gorun::topology::{Placement, Plan, Smt, Topology};
use gorun::{BuildError, Runtime};
use serde::Serialize;
use std::io::Write;

#[derive(Debug, clap::Args)]
pub(crate) struct TopoArguments {
    /// Another machine instead of this one, as counts from the outermost level to the innermost, for example "package:2
    /// node:1 l3:8 core:8 pu:2"; levels left out have one
    #[arg(long, value_name = "LEVELS")]
    synthetic: Option<String>,

    /// Where workers run: per-core, per-l3, per-node, none, or processors such as 0-3,8 [GORUN_PLACEMENT; default: per-core]
    #[arg(long, value_name = "WHERE")]
    placement: Option<Placement>,

    /// What is done with the further processors of a core: spread, pack or avoid [GORUN_SMT; default: spread]
    #[arg(long, value_name = "HOW")]
    smt: Option<Smt>,

    /// Worker processes [GORUN_WORKERS; default: one per usable processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: Option<u16>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A machine and a plan for it.
#[derive(Debug, Serialize)]
struct View {
    packages: usize,
    cores: usize,
    last_level_caches: usize,
    #[serde(flatten)]
    topology: Topology,
    placement: String,
    smt: Smt,
    #[serde(flatten)]
    plan: Plan,
}

pub(crate) fn run(arguments: &TopoArguments) -> u8 {
    let view = match arguments.synthetic.as_deref() {
        None => arguments.of_machine().map_err(|error| error.to_string()),
        Some(text) => arguments.of_synthetic(text),
    };
    let printed = view.and_then(|view| {
        let text = if arguments.json { view.json() } else { view.text() };
        std::io::stdout().write_all(text.as_bytes()).map_err(|cause| format!("cannot print: {cause}"))
    });
    match printed {
        Ok(()) => exit::SUCCESS,
        Err(error) => {
            complain(error);
            exit::OWN_FAILURE
        }
    }
}

impl TopoArguments {
    /// What a program started here would get.
    fn of_machine(&self) -> Result<View, BuildError> {
        let builder = Runtime::builder();
        let builder =
            self.workers.into_iter().fold(builder, |builder, workers| builder.workers(workers.into()));
        let builder = self.placement.clone().into_iter().fold(builder, gorun::Builder::placement);
        let builder = self.smt.into_iter().fold(builder, gorun::Builder::smt);
        let config = builder.config()?;
        Ok(View::new(
            Topology::of_machine().restricted(&config.cpus),
            &config.placement,
            config.smt,
            config.plan,
        ))
    }

    fn of_synthetic(&self, text: &str) -> Result<View, String> {
        let topology = Topology::synthetic(text).map_err(|error| error.to_string())?;
        let placement = self.placement.clone().unwrap_or_default();
        let (smt, seats) =
            (self.smt.unwrap_or_default(), self.workers.map_or(topology.cpus().len(), usize::from));
        let plan = Plan::new(&topology, &placement, smt, seats).map_err(|error| error.to_string())?;
        Ok(View::new(topology, &placement, smt, plan))
    }
}

impl View {
    fn new(topology: Topology, placement: &Placement, smt: Smt, plan: Plan) -> Self {
        Self {
            packages: topology.packages(),
            cores: topology.cores(),
            last_level_caches: topology.l3s(),
            topology,
            placement: placement.to_string(),
            smt,
            plan,
        }
    }

    fn text(&self) -> String {
        let counts = [
            (self.packages, "package"),
            (self.topology.nodes().len(), "node"),
            (self.last_level_caches, "last-level cache"),
            (self.cores, "core"),
            (self.topology.cpus().len(), "processor"),
        ];
        let counts =
            counts.map(|(count, name)| format!("{count} {name}{}", if count == 1 { "" } else { "s" }));
        let seats = self.plan.seats().len();
        let free = self.plan.seats().iter().all(|seat| seat.cpus.is_empty());
        let workers = match free {
            true => "the kernel decides where workers run".to_owned(),
            false => format!("{seats} worker{}", if seats == 1 { "" } else { "s" }),
        };
        format!(
            "{}\n{}placement {}, smt {}: {workers}\n",
            counts.join(", "),
            self.topology.to_tree(&self.plan),
            self.placement,
            self.smt,
        )
    }

    fn json(&self) -> String {
        // Numbers, texts and lists: there is nothing in it that could fail.
        serde_json::to_string_pretty(self).map_or_else(|error| error.to_string(), |text| text + "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(synthetic: Option<&str>) -> TopoArguments {
        TopoArguments {
            synthetic: synthetic.map(str::to_owned),
            placement: None,
            smt: None,
            workers: None,
            json: false,
        }
    }

    #[test]
    fn another_machine_is_shown_with_its_plan() {
        let view =
            arguments(Some("node:2 l3:2 core:2 pu:2")).of_synthetic("node:2 l3:2 core:2 pu:2").unwrap();
        let text = view.text();
        assert!(
            text.starts_with("1 package, 2 nodes, 4 last-level caches, 8 cores, 16 processors\n"),
            "{text}"
        );
        assert!(text.contains("cpu 14   <- worker 7"), "{text}");
        assert!(text.ends_with("placement per-core, smt spread: 16 workers\n"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&view.json()).unwrap();
        assert_eq!(json["seats"].as_array().map(Vec::len), Some(16));
        assert_eq!(json["seats"][8]["cpus"], "1");
        assert_eq!(json["nodes"][1]["distances"], serde_json::json!([21, 10]));
        assert_eq!(json["source"], "synthetic");
    }

    #[test]
    fn this_machine_is_shown_as_a_program_would_get_it() {
        let view = arguments(None).of_machine().unwrap();
        assert_eq!(view.topology.cpu_set(), Topology::usable().cpu_set());
        assert!(!view.plan.seats().is_empty());
    }
}
