//! What DRM drivers report about the use of a GPU by one process: `/proc/PID/fdinfo/FD` of every descriptor of a
//! graphics device.
//!
//! | key | means |
//! |---|---|
//! | `drm-engine-NAME: N ns` | time that the client kept the engine busy |
//! | `drm-cycles-NAME`, `drm-total-cycles-NAME` | the same as two clocks of the engine |
//! | `drm-engine-capacity-NAME` | engines behind the name |
//! | `drm-resident-REGION`, `drm-shared-REGION`, older `drm-memory-REGION` | bytes, with `KiB` or `MiB` or bare |
//!
//! A client that is open under several descriptors, or in a child, is one: `drm-client-id` of one device counts
//! once.

use std::collections::BTreeMap;

mod clients;
pub(crate) mod worker;

pub use clients::Clients;

/// Longest `fdinfo`; xe prints some 60 lines.
const CAP: usize = 8192;

/// Names of one client that are kept.
const MAX_NAMES: usize = 64;

/// One client of a graphics device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Client {
    /// The kernel driver: `amdgpu`, `xe`.
    pub driver: String,
    /// Address of the device on its bus; `None` for drivers that do not report it.
    pub device: Option<String>,
    /// Number of the client at the device.
    pub id: u64,
    /// Engines by name.
    pub engines: BTreeMap<String, Engine>,
    /// Memory by region.
    pub memory: BTreeMap<String, Memory>,
}

/// Use of one kind of engine so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Engine {
    /// Time busy, ns.
    pub busy_ns: Option<u64>,
    /// Cycles busy.
    pub cycles: Option<u64>,
    /// Cycles that passed.
    pub total_cycles: Option<u64>,
    /// Engines of this kind; 0 where the driver does not report it, which means one.
    pub capacity: u32,
}

impl Engine {
    /// Engines of this kind, at least one.
    pub fn count(&self) -> u32 {
        self.capacity.max(1)
    }
}

/// Memory of one client in one region, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// Backed by pages.
    pub resident: Option<u64>,
    /// Of these, shared with other clients.
    pub shared: Option<u64>,
    /// What older drivers report instead.
    pub plain: Option<u64>,
}

impl Memory {
    /// What the client uses for itself. Buffers that clients share are counted in each, so they are left out.
    pub fn own(&self) -> Option<u64> {
        self.resident.map(|bytes| bytes.saturating_sub(self.shared.unwrap_or(0))).or(self.plain)
    }
}

impl Client {
    /// Takes a new reading of the same file; nothing is allocated for names that are known. Whether it is that of
    /// a client of a graphics device.
    fn update(&mut self, text: &[u8]) -> bool {
        let mut id = None;
        self.driver.clear();
        for line in text.split(|&byte| byte == b'\n') {
            let Some((key, value)) = std::str::from_utf8(line).ok().and_then(|line| line.split_once(':'))
            else {
                continue;
            };
            let (Some(key), value) = (key.strip_prefix("drm-"), value.trim()) else { continue };
            match key {
                "driver" => value.clone_into(&mut self.driver),
                "pdev" if self.device.as_deref() != Some(value) => self.device = Some(value.to_owned()),
                "pdev" => {}
                "client-id" => id = value.parse().ok(),
                _ => detail(self, key, value),
            }
        }
        self.id = id.unwrap_or(0);
        id.is_some() && !self.driver.is_empty()
    }

    /// Whether both are one client of one device.
    fn is_same(&self, other: &Self) -> bool {
        self.id == other.id && self.device == other.device && self.driver == other.driver
    }

    /// Memory of all regions that the client uses for itself, bytes. `None` if the driver reports none.
    pub fn memory_bytes(&self) -> Option<u64> {
        self.memory.values().filter_map(Memory::own).reduce(u64::saturating_add)
    }
}

/// Reads one `fdinfo`. `None` if it is that of no graphics device, or names no client.
pub fn parse(text: &[u8]) -> Option<Client> {
    let mut client = Client::default();
    client.update(text).then_some(client)
}

fn detail(client: &mut Client, key: &str, value: &str) {
    let number = |suffix: &str| value.strip_suffix(suffix).unwrap_or(value).trim().parse::<u64>().ok();
    if let Some(name) = key.strip_prefix("engine-capacity-") {
        if let (Some(engine), Some(capacity)) = (entry(&mut client.engines, name), number("")) {
            engine.capacity = u32::try_from(capacity).unwrap_or(0);
        }
    } else if let Some(name) = key.strip_prefix("engine-") {
        // The first kernels with such a file printed percent.
        if value.ends_with("ns")
            && let Some(engine) = entry(&mut client.engines, name)
        {
            engine.busy_ns = number("ns");
        }
    } else if let Some(name) = key.strip_prefix("total-cycles-") {
        if let Some(engine) = entry(&mut client.engines, name) {
            engine.total_cycles = number("");
        }
    } else if let Some(name) = key.strip_prefix("cycles-") {
        if let Some(engine) = entry(&mut client.engines, name) {
            engine.cycles = number("");
        }
    } else if let Some((what, region)) = key.split_once('-')
        && let Some(bytes) = bytes(value)
        && ["resident", "shared", "memory"].contains(&what)
        && let Some(memory) = entry(&mut client.memory, region)
    {
        match what {
            "resident" => memory.resident = Some(bytes),
            "shared" => memory.shared = Some(bytes),
            _ => memory.plain = Some(bytes),
        }
    }
}

fn entry<'m, T: Default>(map: &'m mut BTreeMap<String, T>, name: &str) -> Option<&'m mut T> {
    if !map.contains_key(name) {
        if map.len() >= MAX_NAMES {
            return None;
        }
        map.insert(name.to_owned(), T::default());
    }
    map.get_mut(name)
}

/// `192 KiB`, `16 MiB`, or bare bytes.
fn bytes(value: &str) -> Option<u64> {
    let (number, unit) = value.split_once(' ').unwrap_or((value, ""));
    let factor = match unit.trim() {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_capacity_and_old_formats() {
        let text =
            b"drm-driver:\txe\ndrm-client-id:\t3\ndrm-pdev:\t0000:03:00.0\ndrm-resident-vram0:\t24 MiB\n\
            drm-shared-vram0:\t1024 KiB\ndrm-resident-gtt:\t4096\ndrm-cycles-ccs:\t10\n\
            drm-total-cycles-ccs:\t40\ndrm-engine-capacity-ccs:\t4\ndrm-engine-gfx:\t3.2%\n";
        let client = parse(text).unwrap();
        assert_eq!(client.memory_bytes(), Some((23 << 20) + 4096));
        assert_eq!(
            client.engines["ccs"],
            Engine { busy_ns: None, cycles: Some(10), total_cycles: Some(40), capacity: 4 }
        );
        assert!(!client.engines.contains_key("gfx"), "percent is not time");
        assert_eq!(parse(b"pos:\t0\nflags:\t02\n"), None);
        assert_eq!(parse(b"drm-driver:\tv3d\n"), None, "no client");
        let mut again = client.clone();
        assert!(again.update(text) && again == client);
        assert!(!again.update(b"pos:\t0\n"), "its number belongs to another file now");
    }

    #[test]
    fn shared_buffers_and_overflow() {
        let memory = Memory { resident: Some(10), shared: Some(30), plain: None };
        assert_eq!(memory.own(), Some(0));
        assert_eq!(bytes("18446744073709551615 MiB"), None);
        assert_eq!(bytes("5 parsecs"), None);
    }

    #[test]
    fn noise_is_refused() {
        crate::tests::noise::against(b"drm-driver: xe\ndrm-client-id: 3\ndrm-engine-capacity-ccs: 4\ndrm-cycles-ccs: 9\ndrm-resident-gtt: 3 MiB\n", |text| {
            if let Some(client) = parse(text) {
                assert!(client.engines.len() <= MAX_NAMES && client.memory.len() <= MAX_NAMES);
                assert!(client.engines.values().all(|engine| engine.count() > 0));
                let _ = client.memory_bytes();
            }
        });
    }
}
