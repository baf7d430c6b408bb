//! What feeds a machine beside its batteries: mains adapters, USB ports, charging pads.
//!
//! One adapter that says online while another says offline is stuck, so a battery that is discharged decides. A charger
//! on USB that is online beside a discharged battery is too weak, and feeds the machine too.

use super::FOLDER;
use crate::machine::root::{Handle, Root};
use crate::sources::files::number;

/// What feeds the machine beside its batteries.
#[derive(Default)]
pub(super) struct Feeds {
    /// `online` of mains adapters.
    mains: Vec<Handle>,
    /// `online` of USB ports and charging pads.
    chargers: Vec<Handle>,
}

/// Whether something else feeds the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plugged {
    Yes,
    No,
    /// Adapters contradict each other, and no charger is online.
    Contradicted,
    Unknown,
}

impl Feeds {
    pub(super) fn add(&mut self, root: &Root, supply: &str, kind: &str) {
        let online = root.open(&format!("{FOLDER}/{supply}/online"));
        if kind == "Mains" {
            self.mains.extend(online);
        } else if kind.starts_with("USB") || kind == "Wireless" {
            self.chargers.extend(online);
        }
    }

    /// At discovery, when no lane watches over what hangs.
    pub(super) fn plugged_in_time(&self, root: &Root) -> Plugged {
        let is_stuck = |handle: &Handle| root.in_time(handle.path(), Root::integer).is_err();
        if self.mains.iter().chain(&self.chargers).any(is_stuck) {
            Plugged::Unknown
        } else {
            self.plugged(root)
        }
    }

    pub(super) fn plugged(&self, root: &Root) -> Plugged {
        // Whether any is online, and any offline.
        let said = |handles: &[Handle]| {
            let said = handles.iter().filter_map(|handle| number(root, handle).ok());
            said.fold((false, false), |(on, off), online| (on || online > 0.0, off || online <= 0.0))
        };
        match (said(&self.mains), said(&self.chargers)) {
            (_, (true, _)) | ((true, false), _) => Plugged::Yes,
            ((true, true), _) => Plugged::Contradicted,
            ((false, true), _) | (_, (false, true)) => Plugged::No,
            ((false, false), (false, false)) => Plugged::Unknown,
        }
    }
}
