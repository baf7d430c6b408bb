//! NVIDIA graphics processors, through the driver's library, which is opened at run time.
//!
//! An open library keeps a laptop's card awake, and so would every reading. So no card is read while it sleeps, and
//! when no client is attached the library is closed on machines whose cards may sleep.
//!
//! Energy is counted by the driver since it was loaded (Volta and later) and does not miss what happens between
//! two readings; power is a gauge, on many cards the mean of the last second. Where the driver counts, the
//! counter measures the energy of a run.
//!
//! A card that sleeps at the start, or whose driver is not ready, cannot be asked what it has. All fields are
//! entered for it then, and those that it lacks are reported so once it answers.

use std::ffi::OsStr;
use std::time::Duration;

use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};
use slmscope_profiles::channel::{ChannelId, Reason, ReasonCode, Value};

use crate::catalogue::{Catalogue, missing};
use crate::machine::deadline;
use crate::machine::root::Root;
use crate::source::{Pace, Source};
use crate::sources::pci::NvidiaCard;

mod field;

use field::{Field, code, is_final};

/// Found by the dynamic linker; the name without a number belongs to the development files.
const LIBRARY: &str = "libnvidia-ml.so.1";

/// The limit on the time to open the library and read it once, because a driver that hangs would hang the daemon's
/// start.
const OPEN_DEADLINE: Duration = Duration::from_millis(1200);

/// What the kernel's part of the driver shows of itself.
const DRIVER: &str = "proc/driver/nvidia/version";

/// Readings between two attempts to open the library again.
const REOPEN_EVERY: u32 = 16;

/// Processors that are listed.
const MAX_DEVICES: u32 = 64;

/// Reads all NVIDIA processors.
pub(crate) struct Nvidia {
    library: &'static OsStr,
    root: Root,
    nvml: Option<Nvml>,
    cards: Vec<NvidiaCard>,
    may_suspend: bool,
    resting: bool,
    failures: u32,
    fields: Vec<Wanted>,
}

/// A field of one processor.
struct Wanted {
    channel: ChannelId,
    gpu: u32,
    field: Field,
    /// The driver answered that it has none; it is not asked again.
    never: Option<ReasonCode>,
}

impl Nvidia {
    /// Enters `gpuN.*` and returns how many processors there are. Without any the catalogue is left alone and
    /// the reason returned.
    pub(crate) fn discover(root: &Root, catalogue: &mut Catalogue) -> Result<(Self, u32), Reason> {
        if !root.is_live() {
            return Err(missing("the NVIDIA library answers only on the machine itself"));
        }
        let own = Root::live().map_err(|error| Reason::new(ReasonCode::ReadError, error.to_string()))?;
        Self::with_library(OsStr::new(LIBRARY), own, catalogue)
    }

    fn with_library(
        library: &'static OsStr,
        root: Root,
        catalogue: &mut Catalogue,
    ) -> Result<(Self, u32), Reason> {
        let cards = NvidiaCard::list(&root);
        let asleep = cards.iter().any(|card| card.is_suspended(&root));
        let opened = if asleep {
            let detail = "the NVIDIA card is powered down; reading would wake it";
            Err(Reason::new(ReasonCode::GatedOrAsleep, detail))
        } else {
            open_in_time(library)
        };
        let (nvml, answers) = match opened {
            Ok((nvml, answers)) => (Some(nvml), answers),
            // The library will find them later, in the order of their addresses as well.
            Err(reason)
                if reason.code != ReasonCode::NoSuchInterface && !cards.is_empty() && root.exists(DRIVER) =>
            {
                (None, cards.iter().map(|_| Ok(later())).collect())
            }
            Err(reason) => return Err(reason),
        };
        let count = answers.len() as u32;
        let mut fields = Vec::new();
        for (gpu, answers) in (0..count).zip(answers) {
            match answers {
                Ok(answers) => fields.extend(enter(answers, gpu, catalogue)),
                Err(error) => absent(Field::Busy, gpu, &error, catalogue),
            }
        }
        let may_suspend = cards.iter().any(|card| card.may_suspend(&root));
        // A library that did not open is given time.
        let failures = u32::from(nvml.is_none() && !asleep);
        Ok((Self { library, root, nvml, cards, may_suspend, resting: false, failures, fields }, count))
    }

    /// The library, opened if need be.
    fn library(&mut self) -> Result<&Nvml, ReasonCode> {
        if self.nvml.is_none() {
            if self.cards.iter().any(|card| card.is_suspended(&self.root)) {
                return Err(ReasonCode::GatedOrAsleep);
            }
            let attempt = self.failures.is_multiple_of(REOPEN_EVERY);
            self.failures = self.failures.wrapping_add(1);
            if attempt {
                let opened = Nvml::builder().lib_path(self.library).init();
                self.nvml = Some(opened.map_err(|error| code(&error))?);
                self.failures = 0;
            }
        }
        self.nvml.as_ref().ok_or(ReasonCode::Vanished)
    }
}

/// Whether a processor answers to each field.
type Answers = Vec<(Field, Result<(), NvmlError>)>;

fn ask(device: &Device<'_>) -> Answers {
    let has_instant = Field::PowerInstant.read(device).is_ok();
    let other = if has_instant { Field::PowerUsage } else { Field::PowerInstant };
    let fields = Field::ALL.into_iter().filter(|&field| field != other);
    fields.map(|field| (field, field.read(device).map(drop))).collect()
}

/// The answers that are assumed of a processor that cannot be asked yet: it has refused nothing. Every driver
/// reports the mean power.
fn later() -> Answers {
    let fields = Field::ALL.into_iter().filter(|&field| field != Field::PowerInstant);
    fields.map(|field| (field, Ok(()))).collect()
}

/// Enters the fields of a processor that it has.
fn enter(answers: Answers, gpu: u32, catalogue: &mut Catalogue) -> Vec<Wanted> {
    let mut fields = Vec::new();
    for (field, answer) in answers {
        let channel = match answer {
            Err(error) if is_final(&error) => {
                absent(field, gpu, &error, catalogue);
                continue;
            }
            _ if field == Field::Energy => catalogue.counter(field.entry(gpu), None),
            _ => catalogue.gauge(field.entry(gpu)),
        };
        fields.push(Wanted { channel, gpu, field, never: None });
    }
    fields
}

fn absent(field: Field, gpu: u32, error: &NvmlError, catalogue: &mut Catalogue) {
    let entry = field.entry(gpu);
    let hint = match (field, code(error)) {
        (Field::VramUsed, ReasonCode::NotSupported) => "; where memory is unified, mem.available reports it",
        _ => "",
    };
    let reason = Reason::new(code(error), format!("the driver: {error}{hint}"));
    catalogue.absent((&entry.id, entry.quantity, entry.unit, entry.scope), &entry.source, reason);
}

/// Opens the library and asks every processor once.
fn open_in_time(library: &'static OsStr) -> Result<(Nvml, Vec<Result<Answers, NvmlError>>), Reason> {
    let open = move || {
        let nvml = Nvml::builder().lib_path(library).init()?;
        let count = nvml.device_count()?.min(MAX_DEVICES);
        let answers: Vec<_> =
            (0..count).map(|gpu| nvml.device_by_index(gpu).map(|device| ask(&device))).collect();
        Ok((nvml, answers))
    };
    match deadline::within(OPEN_DEADLINE, open) {
        Ok(Ok((nvml, answers))) if !answers.is_empty() => Ok((nvml, answers)),
        Ok(Ok(_)) => Err(missing("the NVIDIA library finds no processor")),
        Ok(Err(NvmlError::LibloadingError(_))) => Err(missing("no libnvidia-ml.so.1: no NVIDIA driver")),
        Ok(Err(error)) => Err(Reason::new(code(&error), format!("opening the NVIDIA library: {error}"))),
        Err(code) => Err(Reason::new(code, "the NVIDIA library did not open and answer within 1.2 s")),
    }
}

impl Source for Nvidia {
    fn channels(&self) -> Vec<ChannelId> {
        self.fields.iter().map(|wanted| wanted.channel).collect()
    }

    fn set_pace(&mut self, pace: Pace) {
        self.resting = pace == Pace::Idle && self.may_suspend;
        if self.resting {
            self.nvml = None;
            self.failures = 0;
        }
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        let mut fields = std::mem::take(&mut self.fields);
        let library = if self.resting { Err(ReasonCode::GatedOrAsleep) } else { self.library() };
        let mut lost = false;
        let mut device: Option<(u32, Result<Device<'_>, ReasonCode>)> = None;
        for wanted in &mut fields {
            if device.as_ref().is_none_or(|(index, _)| *index != wanted.gpu) {
                let opened = match &library {
                    Ok(nvml) => nvml.device_by_index(wanted.gpu).map_err(|error| {
                        lost |= matches!(error, NvmlError::GpuLost);
                        code(&error)
                    }),
                    Err(code) => Err(*code),
                };
                device = Some((wanted.gpu, opened));
            }
            let value = match (&device, wanted.never) {
                (_, Some(code)) => Value::Absent(code),
                (Some((_, Ok(device))), None) => wanted.field.read(device).unwrap_or_else(|error| {
                    lost |= matches!(error, NvmlError::GpuLost);
                    wanted.never = is_final(&error).then(|| code(&error));
                    Value::Absent(code(&error))
                }),
                (Some((_, Err(code))), None) => Value::Absent(*code),
                (None, None) => Value::Absent(ReasonCode::ReadError),
            };
            values.push((wanted.channel, value));
        }
        self.fields = fields;
        if lost {
            // A library that has lost a processor does not find it again; a new one may, a while later.
            self.nvml = None;
            self.failures = 1;
        }
    }
}

#[cfg(test)]
mod tests;
