//! Devices that sleep, and how to know: `power/runtime_status` and `power_state` can be read without waking
//! them.

use std::sync::Arc;

use crate::machine::root::Root;
use crate::sources::files::Gate;

const FOLDER: &str = "sys/bus/pci/devices";

/// The file that holds whether a device sleeps.
const STATUS: &str = "power/runtime_status";

/// PCI vendor number of NVIDIA.
const NVIDIA: &str = "0x10de";

/// One NVIDIA display or 3D controller.
#[derive(Debug)]
pub(crate) struct NvidiaCard {
    folder: String,
}

impl NvidiaCard {
    /// All of them.
    pub(crate) fn list(root: &Root) -> Vec<Self> {
        let folders =
            root.list(FOLDER).unwrap_or_default().into_iter().map(|device| format!("{FOLDER}/{device}"));
        let is = |folder: &str, file: &str, prefix: &str| {
            root.text(&format!("{folder}/{file}")).is_ok_and(|text| text.starts_with(prefix))
        };
        folders
            .filter(|folder| is(folder, "vendor", NVIDIA) && is(folder, "class", "0x03"))
            .map(|folder| Self { folder })
            .collect()
    }

    /// Whether it is powered down, so that any access would wake it.
    pub(crate) fn is_suspended(&self, root: &Root) -> bool {
        root.text(&format!("{}/{STATUS}", self.folder)).is_ok_and(|status| status == "suspended")
    }

    /// Whether the kernel may power it down when it is not in use.
    pub(crate) fn may_suspend(&self, root: &Root) -> bool {
        root.text(&format!("{}/power/control", self.folder)).is_ok_and(|control| control == "auto")
    }
}

/// Keeps the files of the device in this folder from being read while it is powered down.
pub(crate) fn gate(root: &Root, folder: &str) -> Option<Arc<Gate>> {
    let states: Vec<_> = [STATUS, "power_state"]
        .iter()
        .filter_map(|file| root.open(&format!("{folder}/{file}")).ok())
        .collect();
    (!states.is_empty()).then(|| Arc::new(Gate::Asleep(states)))
}
