//! Memory traffic. No file reports it on every machine; in the order of trust:
//!
//! | source | what it reports | class |
//! |---|---|---|
//! | performance counters of the memory controllers | bytes of all CPUs and devices | measured |
//! | `resctrl`, if it is mounted | bytes of all CPUs, by L3 domain | measured |
//! | Jetson's activity monitor, Rockchip's `dmc` | share of the clocks that the memory is busy | modelled |
//! | misses of the last-level cache × 64 B | what the worker's loads brought in | modelled |
//!
//! `resctrl` is never mounted from here: that changes the machine.

use slmscope_profiles::channel::{Quantity, Reason, ReasonCode, Scope, Unit};

use crate::catalogue::{Catalogue, Interface, missing};
use crate::machine::root::Root;
use crate::source::Source;
use crate::sources::load::self_usage::WorkerPid;
use crate::sources::perf;

mod resctrl;
mod soc;

/// What was found, by what it costs.
#[derive(Default)]
pub(crate) struct Traffic {
    /// System calls that interrupt a CPU of each socket.
    pub(crate) counters: Vec<Box<dyn Source>>,
    /// Files of drivers.
    pub(crate) files: Vec<Box<dyn Source>>,
}

/// Enters `membw.dram`, from the best source, and the other `membw.` channels.
pub(crate) fn discover(root: &Root, catalogue: &mut Catalogue, worker: &WorkerPid) -> Traffic {
    let mut traffic = Traffic::default();
    let counted = perf::dram::discover(root, catalogue);
    let refused = match counted {
        Ok(source) => {
            traffic.counters.push(source);
            None
        }
        Err(refused) => Some(refused),
    };
    traffic.files.extend(resctrl::discover(root, catalogue));
    traffic.files.extend(soc::discover(root, catalogue));
    if !catalogue.has_id("membw.dram") {
        let interface = if refused.is_some() { Interface::PerformanceCounter } else { Interface::Other };
        let (source, reason) = refused.unwrap_or_else(|| (String::new(), missing("nothing counts it")));
        let channel = ("membw.dram", Quantity::MemoryBandwidth, Unit::BytesPerSecond, Scope::Dram);
        let channel = catalogue.absent(channel, &source, reason);
        catalogue.set_interface(channel, interface);
    }
    traffic.counters.extend(perf::misses::discover(root, catalogue, worker));
    traffic
}

/// Why there are no counters of memory controllers, for a machine that has none.
pub(crate) fn no_counters(root: &Root) -> Reason {
    let mounted = root.exists("sys/fs/resctrl/info");
    let rest =
        if mounted { "resctrl is mounted but monitors no bandwidth" } else { "resctrl is not mounted" };
    Reason::new(ReasonCode::NoSuchInterface, format!("no performance counter of a memory controller; {rest}"))
}
