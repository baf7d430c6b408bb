//! Descriptions of PMUs below `/sys/bus/event_source/devices`.
//!
//! ```text
//! type               number of the PMU                     cpumask      CPUs on which it is opened
//! format/umask       where a term's bits go                config:8-15
//! events/NAME        terms                                 event=0x04,umask=0x03
//! events/NAME.scale  units per count                       6.103515625e-5
//! events/NAME.unit   the unit                              MiB
//! ```

use slmscope_profiles::channel::{Reason, ReasonCode};

use super::Event;
use crate::machine::root::Root;
use crate::machine::topology;

const FOLDER: &str = "sys/bus/event_source/devices";

/// One PMU.
#[derive(Debug, Clone)]
pub(super) struct Pmu {
    pub(super) name: String,
    pub(super) kind: u32,
    /// CPUs on which it is opened, one for each instance.
    pub(super) cpus: Vec<u32>,
}

/// An event with the scale of its counts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Described {
    pub(super) event: Event,
    /// `unit` per count.
    pub(super) scale: Option<f64>,
    pub(super) unit: Option<String>,
}

/// Names of all PMUs.
pub(super) fn names(root: &Root) -> Vec<String> {
    root.list(FOLDER).unwrap_or_default()
}

impl Pmu {
    /// Reads the description.
    ///
    /// # Errors
    /// If there is none, or its numbers make no sense.
    pub(super) fn find(root: &Root, name: &str) -> Result<Self, Reason> {
        let folder = format!("{FOLDER}/{name}");
        let kind = root.integer(&format!("{folder}/type"))?;
        let kind = u32::try_from(kind)
            .map_err(|_| Reason::new(ReasonCode::Implausible, format!("/{folder}/type is {kind}")))?;
        let list = ["cpumask", "cpus"].iter().find_map(|file| root.text(&format!("{folder}/{file}")).ok());
        let cpus = list.map_or_else(|| vec![0], |list| topology::parse_list(&list).into_iter().collect());
        Ok(Self { name: name.to_owned(), kind, cpus })
    }

    /// An event that the kernel names, with further terms after a comma; `None` if it has none of this name or
    /// describes it wrongly.
    pub(super) fn event(&self, root: &Root, event: &str) -> Option<Described> {
        let (name, terms) = event.split_once(',').unwrap_or((event, ""));
        let path = format!("{FOLDER}/{}/events/{name}", self.name);
        let event = self.encode(root, &format!("{},{terms}", root.text(&path).ok()?))?;
        let scale = root.text(&format!("{path}.scale")).ok().and_then(|text| text.parse::<f64>().ok());
        let scale = scale.filter(|scale| scale.is_finite() && *scale > 0.0);
        Some(Described { event, scale, unit: root.text(&format!("{path}.unit")).ok() })
    }

    /// Which hardware this is, where the kernel reports it.
    pub(super) fn identifier(&self, root: &Root) -> Option<String> {
        root.text(&format!("{FOLDER}/{}/identifier", self.name)).ok()
    }

    /// Encodes terms such as `event=0x04,umask=0x03` by the PMU's formats.
    pub(super) fn encode(&self, root: &Root, terms: &str) -> Option<Event> {
        let mut event = Event { kind: self.kind, ..Event::default() };
        for term in terms.split(',').map(str::trim).filter(|term| !term.is_empty()) {
            let (name, value) = match term.split_once('=') {
                Some((name, value)) => (name.trim(), number(value.trim())?),
                None => (term, 1),
            };
            let format = match name {
                "config" | "config1" | "config2" => format!("{name}:0-63"),
                // The name becomes part of a path.
                _ if name.contains(['/', '.']) => return None,
                _ => root.text(&format!("{FOLDER}/{}/format/{name}", self.name)).ok()?,
            };
            place(&mut event, &format, value)?;
        }
        Some(event)
    }
}

/// A decimal or hexadecimal number. `?` is a value that the user must choose, so it is none.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Spreads a value over the bits of a format such as `config:0-7,32-35`, lowest first. `None` if the format is
/// malformed or the value does not fit.
fn place(event: &mut Event, format: &str, value: u64) -> Option<()> {
    let (field, ranges) = format.split_once(':')?;
    let word = match field.trim() {
        "config" => &mut event.config,
        "config1" => &mut event.config1,
        "config2" => &mut event.config2,
        _ => return None,
    };
    let mut rest = value;
    for range in ranges.trim().split(',') {
        let (low, high) = range.split_once('-').unwrap_or((range, range));
        let (low, high): (u32, u32) = (low.trim().parse().ok()?, high.trim().parse().ok()?);
        if low > high || high > 63 {
            return None;
        }
        let width = high - low + 1;
        let mask = if width == 64 { u64::MAX } else { (1 << width) - 1 };
        *word |= (rest & mask) << low;
        rest = if width == 64 { 0 } else { rest >> width };
    }
    (rest == 0).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(FOLDER).join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let root = Root::tree(dir.path()).unwrap();
        (dir, root)
    }

    #[test]
    fn bits_go_where_the_format_says() {
        let mut event = Event::default();
        assert_eq!(place(&mut event, "config:0-7,32-35", 0xabc), Some(()));
        assert_eq!(event.config, 0xbc | 0xa << 32);
        assert_eq!(place(&mut event, "config1:4", 1), Some(()));
        assert_eq!(event.config1, 1 << 4);
        assert_eq!(place(&mut event, "config2:0-63", u64::MAX), Some(()));
        for wrong in ["config:7-0", "config:0-64", "config:", "nothing", "config9:0", "config:-1"] {
            assert_eq!(place(&mut Event::default(), wrong, 1), None, "{wrong}");
        }
        assert_eq!(place(&mut Event::default(), "config:0-3", 16), None, "too wide");
    }

    #[test]
    fn an_event_is_read_with_its_scale() {
        let (_dir, root) = tree(&[
            ("uncore_imc_0/type", "14\n"),
            ("uncore_imc_0/cpumask", "0,18\n"),
            ("uncore_imc_0/format/event", "config:0-7\n"),
            ("uncore_imc_0/format/umask", "config:8-15\n"),
            ("uncore_imc_0/events/cas_count_read", "event=0x04,umask=0x03\n"),
            ("uncore_imc_0/events/cas_count_read.scale", "6.103515625e-5\n"),
            ("uncore_imc_0/events/cas_count_read.unit", "MiB\n"),
            ("uncore_imc_0/events/broken", "event=?,umask=0x03\n"),
            ("uncore_imc_0/events/outside", "../../type=1\n"),
            ("wrong/type", "-1\n"),
        ]);
        let pmu = Pmu::find(&root, "uncore_imc_0").unwrap();
        assert_eq!((pmu.kind, pmu.cpus.as_slice()), (14, &[0, 18][..]));
        let read = pmu.event(&root, "cas_count_read").unwrap();
        assert_eq!(read.event, Event { kind: 14, config: 0x304, ..Event::default() });
        assert_eq!((read.scale, read.unit.as_deref()), (Some(6.103_515_625e-5), Some("MiB")));
        for none in ["broken", "outside", "missing"] {
            assert_eq!(pmu.event(&root, none), None, "{none}");
        }
        assert_eq!(Pmu::find(&root, "wrong").unwrap_err().code, ReasonCode::Implausible);
    }

    #[test]
    fn noise_is_refused() {
        crate::tests::noise::against(b"config:0-7,32-35", |text| {
            let words = String::from_utf8_lossy(text);
            let _ = (place(&mut Event::default(), &words, u64::MAX), number(&words));
        });
    }
}
