//! The worker's memory on AMD's compute processors, as the kernel's compute driver counts it: what ROCm
//! allocates belongs to no client of the graphics driver, so fdinfo does not report it.
//!
//! `/sys/class/kfd/kfd/proc/PID/vram_GPU` holds bytes; the folder exists while the process has the driver open.
//! `GPU` is the driver's own number, which its topology joins with an address on the bus
//! (`drivers/gpu/drm/amd/amdkfd/kfd_process.c` and `kfd_topology.c`). Reading it touches no hardware, so a
//! processor that sleeps stays asleep.

use slmscope_profiles::channel::{ChannelId, Class, Quantity, ReasonCode, Scope, Unit, Value};

use crate::catalogue::{Catalogue, Entry, missing};
use crate::machine::root::{Handle, Root};
use crate::source::{Group, Source};
use crate::sources::accelerators::fdinfo::worker::Sign;
use crate::sources::files;
use crate::sources::load::self_usage::WorkerPid;

const TOPOLOGY: &str = "sys/class/kfd/kfd/topology/nodes";
/// Nodes of the topology that are read.
const MAX_NODES: usize = 256;
/// Readings between two searches for the file of a worker that has none.
const LOOK_EVERY: u32 = 10;

/// Enters `gpuN.worker.compute_memory` for each of the `processors` that the compute driver knows.
pub(crate) fn discover(
    root: &Root,
    processors: &[(u32, Sign)],
    worker: &WorkerPid,
    catalogue: &mut Catalogue,
) -> Vec<Box<dyn Source>> {
    let nodes = nodes(root);
    let mut sources: Vec<Box<dyn Source>> = Vec::new();
    for (gpu, sign) in processors {
        let Sign::Address(address) = sign else { continue };
        let Some((_, number)) = nodes.iter().find(|(of, _)| of == address) else { continue };
        let id = format!("gpu{gpu}.worker.compute_memory");
        let source = format!("/sys/class/kfd/kfd/proc/PID/vram_{number}");
        if !root.is_live() {
            let reason = missing("a captured tree runs no process of ours");
            catalogue.absent((&id, Quantity::Gpu, Unit::Bytes, Scope::Process), &source, reason);
            continue;
        }
        let channel = catalogue.gauge(Entry {
            id,
            quantity: Quantity::Gpu,
            unit: Unit::Bytes,
            scope: Scope::Process,
            class: Class::Measured,
            source,
            group: Group::Gpu,
        });
        sources.push(Box::new(ComputeMemory::new(root, worker, *number, channel)));
    }
    sources
}

/// Address on the bus and the driver's number of each processor in its topology.
fn nodes(root: &Root) -> Vec<(String, u32)> {
    let node = |name: String| {
        let number: u32 = root.text(&format!("{TOPOLOGY}/{name}/gpu_id")).ok()?.trim().parse().ok()?;
        let properties = root.text(&format!("{TOPOLOGY}/{name}/properties")).ok()?;
        // The number of a node without such a processor, the CPU's, is 0.
        (number != 0).then_some((address(&properties)?, number))
    };
    let names = root.list(TOPOLOGY).unwrap_or_default();
    names.into_iter().take(MAX_NODES).filter_map(node).collect()
}

/// `domain:bus:device.function` from lines of a name and a number. Old kernels report no domain.
fn address(properties: &str) -> Option<String> {
    let value = |name: &str| {
        let mut values = properties.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        values.next()?.trim().parse::<u32>().ok()
    };
    let location = value("location_id").filter(|&location| location <= 0xffff)?;
    let (bus, device, function) = (location >> 8, location >> 3 & 0x1f, location & 7);
    Some(format!("{:04x}:{bus:02x}:{device:02x}.{function}", value("domain").unwrap_or(0)))
}

struct ComputeMemory {
    root: Root,
    worker: WorkerPid,
    /// The driver's number of the processor.
    number: u32,
    channel: ChannelId,
    pid: Option<u32>,
    file: Option<Handle>,
    /// Of this worker.
    readings: u32,
}

impl ComputeMemory {
    fn new(root: &Root, worker: &WorkerPid, number: u32, channel: ChannelId) -> Self {
        let (root, worker) = (root.clone(), worker.clone());
        Self { root, worker, number, channel, pid: None, file: None, readings: 0 }
    }

    fn bytes(&mut self) -> Result<f64, ReasonCode> {
        let pid = self.worker.get().ok_or(ReasonCode::NoSuchInterface)?;
        if self.pid != Some(pid) {
            (self.pid, self.file, self.readings) = (Some(pid), None, 0);
        }
        if self.file.is_none() && self.readings.is_multiple_of(LOOK_EVERY) {
            let path = format!("sys/class/kfd/kfd/proc/{pid}/vram_{}", self.number);
            self.file = self.root.open(&path).ok();
        }
        self.readings = self.readings.wrapping_add(1);
        let file = self.file.as_ref().ok_or(ReasonCode::NoSuchInterface)?;
        let bytes = files::number(&self.root, file);
        if bytes.is_err() {
            // The process has closed the driver.
            self.file = None;
        }
        bytes.and_then(|bytes| if bytes >= 0.0 { Ok(bytes) } else { Err(ReasonCode::Implausible) })
    }
}

impl Source for ComputeMemory {
    fn channels(&self) -> Vec<ChannelId> {
        vec![self.channel]
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        values.push((self.channel, self.bytes().map_or_else(Value::Absent, Value::Present)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &std::path::Path, path: &str, text: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn a_processor_is_found_by_its_address() {
        let dir = tempfile::tempdir().unwrap();
        let properties = "cpu_cores_count 0\nlocation_id 12032\ndomain 1\nlocation_id_2 5\n";
        write(dir.path(), &format!("{TOPOLOGY}/0/gpu_id"), "0\n");
        write(dir.path(), &format!("{TOPOLOGY}/0/properties"), "location_id 0\ndomain 0\n");
        write(dir.path(), &format!("{TOPOLOGY}/1/gpu_id"), "51966\n");
        write(dir.path(), &format!("{TOPOLOGY}/1/properties"), properties);
        write(dir.path(), &format!("{TOPOLOGY}/2/gpu_id"), "7\n");
        let root = Root::tree(dir.path()).unwrap();
        assert_eq!(nodes(&root), [("0001:2f:00.0".to_owned(), 51_966)]);

        let mut catalogue = Catalogue::default();
        let processors =
            [(0, Sign::Address("0000:2f:00.0".to_owned())), (1, Sign::Address("0001:2f:00.0".to_owned()))];
        assert!(discover(&root, &processors, &WorkerPid::default(), &mut catalogue).is_empty());
        assert!(!catalogue.has_id("gpu0.worker.compute_memory"), "another card");
        assert!(catalogue.has_id("gpu1.worker.compute_memory"));
    }

    #[test]
    fn what_is_no_address_is_none() {
        assert_eq!(address("location_id 259\n").as_deref(), Some("0000:01:00.3"));
        assert_eq!(address("location_id 99999999\n"), None);
        assert_eq!(address("location_id -1\ndomain 0\n"), None);
        assert_eq!(address("domain 0\n"), None);
    }

    #[test]
    fn the_workers_bytes_come_and_go_with_its_folder() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::tree(dir.path()).unwrap();
        let worker = WorkerPid::default();
        let mut source = ComputeMemory::new(&root, &worker, 51_966, 0);
        assert_eq!(source.bytes(), Err(ReasonCode::NoSuchInterface), "no worker");
        worker.set(Some(7));
        assert_eq!(source.bytes(), Err(ReasonCode::NoSuchInterface), "one that does not use the driver");
        let file = "sys/class/kfd/kfd/proc/7/vram_51966";
        write(dir.path(), file, "1073741824\n");
        let readings: Vec<_> = (0..LOOK_EVERY).map(|_| source.bytes()).collect();
        assert_eq!(readings.last(), Some(&Ok(1_073_741_824.0)), "it is looked for again");
        write(dir.path(), file, "-4096\n");
        assert_eq!(source.bytes(), Err(ReasonCode::Implausible));
        write(dir.path(), file, "no number\n");
        assert_eq!(source.bytes(), Err(ReasonCode::Implausible));
        worker.set(Some(8));
        assert_eq!(source.bytes(), Err(ReasonCode::NoSuchInterface), "another process");
    }

    #[test]
    fn noise_is_refused() {
        crate::tests::noise::against(b"location_id 768\ndomain 0\n", |text| {
            let _ = address(&String::from_utf8_lossy(text));
        });
    }
}
