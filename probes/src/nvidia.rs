//! NVIDIA graphics processors, through the driver's library, which is opened at run time.
//!
//! An open library keeps a laptop's card awake, and so would every reading. So nothing is asked while a card
//! sleeps, and when nobody looks the library is closed on machines whose cards may sleep.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};
use slmscope_profiles::channel::{ChannelId, Class, Quantity, Reason, ReasonCode, Scope, Unit, Value};

use crate::catalogue::{Catalogue, Entry, missing};
use crate::files::Limits;
use crate::pci::NvidiaCard;
use crate::root::Root;
use crate::source::{Group, Pace, Source};

/// What the library may take to open; a driver that hangs here would hang the start of the daemon.
const OPEN_DEADLINE: Duration = Duration::from_millis(1200);

/// Readings between two attempts to open the library again.
const REOPEN_EVERY: u32 = 16;

/// Processors that are listed.
const MAX_DEVICES: u32 = 64;

#[derive(Debug, Clone, Copy)]
enum Field {
    Busy,
    VramUsed,
    Clock,
    Power,
    Energy,
    Temperature,
}

impl Field {
    const ALL: [Self; 6] =
        [Self::Busy, Self::VramUsed, Self::Clock, Self::Power, Self::Energy, Self::Temperature];

    fn entry(self, gpu: u32) -> Entry {
        let (id, quantity, unit, call) = match self {
            Self::Busy => {
                (format!("gpu{gpu}.busy"), Quantity::Gpu, Unit::Ratio, "nvmlDeviceGetUtilizationRates")
            }
            Self::VramUsed => {
                (format!("gpu{gpu}.vram_used"), Quantity::Gpu, Unit::Bytes, "nvmlDeviceGetMemoryInfo")
            }
            Self::Clock => (format!("gpu{gpu}.clock"), Quantity::Gpu, Unit::Hertz, "nvmlDeviceGetClockInfo"),
            Self::Power => {
                (format!("gpu{gpu}.power"), Quantity::Power, Unit::Watts, "nvmlDeviceGetPowerUsage")
            }
            Self::Energy => (
                format!("gpu{gpu}.energy"),
                Quantity::Energy,
                Unit::Joules,
                "nvmlDeviceGetTotalEnergyConsumption",
            ),
            Self::Temperature => {
                (format!("temp.gpu{gpu}"), Quantity::Temperature, Unit::Celsius, "nvmlDeviceGetTemperature")
            }
        };
        let scope = if matches!(self, Self::Power | Self::Energy) { Scope::Gpu } else { Scope::GpuN(gpu) };
        Entry {
            id,
            quantity,
            unit,
            scope,
            class: Class::Measured,
            source: call.to_owned(),
            group: Group::Gpu,
        }
    }

    /// The value in the channel's unit.
    fn read(self, device: &Device<'_>) -> Result<Value, NvmlError> {
        let (value, limits) = match self {
            Self::Busy => (f64::from(device.utilization_rates()?.gpu) / 100.0, Limits::new(0.0, 1.0)),
            Self::VramUsed => (device.memory_info()?.used as f64, Limits::new(0.0, 1e15)),
            Self::Clock => (f64::from(device.clock_info(Clock::SM)?) * 1e6, Limits::new(0.0, 1e10)),
            Self::Power => (f64::from(device.power_usage()?) / 1e3, Limits::new(0.0, 1e4)),
            Self::Energy => (device.total_energy_consumption()? as f64 / 1e3, Limits::new(0.0, 1e15)),
            Self::Temperature => {
                (f64::from(device.temperature(TemperatureSensor::Gpu)?), Limits::new(-60.0, 126.0))
            }
        };
        Ok(limits.check(value))
    }
}

fn code(error: &NvmlError) -> ReasonCode {
    match error {
        NvmlError::NotSupported => ReasonCode::NotSupported,
        NvmlError::NoPermission => ReasonCode::Permission,
        NvmlError::GpuLost => ReasonCode::Vanished,
        NvmlError::Timeout => ReasonCode::Deadline,
        NvmlError::LibloadingError(_) | NvmlError::DriverNotLoaded | NvmlError::LibraryNotFound => {
            ReasonCode::NoSuchInterface
        }
        _ => ReasonCode::ReadError,
    }
}

/// Reads all NVIDIA processors.
pub(crate) struct Nvidia {
    root: Root,
    nvml: Option<Nvml>,
    cards: Vec<NvidiaCard>,
    may_suspend: bool,
    resting: bool,
    failures: u32,
    channels: Vec<(ChannelId, u32, Field)>,
}

impl Nvidia {
    /// Enters `gpuN.*` and returns how many processors there are. Without any the catalogue is left alone and
    /// the reason returned.
    pub(crate) fn discover(root: &Root, catalogue: &mut Catalogue) -> Result<(Self, u32), Reason> {
        if !root.is_live() {
            return Err(missing("the NVIDIA library answers only on the machine itself"));
        }
        let cards = NvidiaCard::list(root);
        if cards.iter().any(|card| card.is_suspended(root)) {
            return Err(Reason::new(
                ReasonCode::GatedOrAsleep,
                "the NVIDIA card is powered down; reading would wake it",
            ));
        }
        let (nvml, count) = open_in_time()?;
        let mut channels = Vec::new();
        for gpu in 0..count {
            let device = match nvml.device_by_index(gpu) {
                Ok(device) => device,
                Err(error) => {
                    let entry = Field::Busy.entry(gpu);
                    let reason = Reason::new(code(&error), error.to_string());
                    catalogue.absent(
                        (&entry.id, entry.quantity, entry.unit, entry.scope),
                        "NVML",
                        reason,
                        None,
                    );
                    continue;
                }
            };
            for field in Field::ALL {
                let entry = field.entry(gpu);
                match field.read(&device) {
                    Err(error @ (NvmlError::NotSupported | NvmlError::NoPermission)) => {
                        let reason = Reason::new(code(&error), format!("the driver: {error}"));
                        let channel = (entry.id.as_str(), entry.quantity, entry.unit, entry.scope);
                        catalogue.absent(channel, &entry.source, reason, None);
                    }
                    _ if matches!(field, Field::Energy) => {
                        channels.push((catalogue.counter(entry, None), gpu, field));
                    }
                    _ => channels.push((catalogue.gauge(entry), gpu, field)),
                }
            }
        }
        let may_suspend = cards.iter().any(|card| card.may_suspend(root));
        let root = Root::live().map_err(|error| Reason::new(ReasonCode::ReadError, error.to_string()))?;
        Ok((
            Self { root, nvml: Some(nvml), cards, may_suspend, resting: false, failures: 0, channels },
            count,
        ))
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
                self.nvml = Some(Nvml::init().map_err(|error| code(&error))?);
                self.failures = 0;
            }
        }
        self.nvml.as_ref().ok_or(ReasonCode::ReadError)
    }
}

/// Opens the library in a thread that is left behind if it hangs.
fn open_in_time() -> Result<(Nvml, u32), Reason> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let open = move || {
        let opened = Nvml::init().and_then(|nvml| nvml.device_count().map(|count| (nvml, count)));
        // Nobody listens any more after the deadline; the library is then closed here.
        let _ = sender.send(opened);
    };
    let failed = |error: std::io::Error| Reason::new(ReasonCode::ReadError, error.to_string());
    thread::Builder::new().name("probe-nvml".to_owned()).spawn(open).map_err(failed)?;
    match receiver.recv_timeout(OPEN_DEADLINE) {
        Ok(Ok((_, 0))) => Err(missing("the NVIDIA library finds no processor")),
        Ok(Ok((nvml, count))) => Ok((nvml, count.min(MAX_DEVICES))),
        Ok(Err(NvmlError::LibloadingError(_))) => Err(missing("no libnvidia-ml.so.1: no NVIDIA driver")),
        Ok(Err(error)) => Err(Reason::new(code(&error), format!("opening the NVIDIA library: {error}"))),
        Err(_) => Err(Reason::new(ReasonCode::Deadline, "the NVIDIA library did not open within 1.2 s")),
    }
}

impl Source for Nvidia {
    fn channels(&self) -> Vec<ChannelId> {
        self.channels.iter().map(|&(channel, ..)| channel).collect()
    }

    fn set_pace(&mut self, pace: Pace) {
        self.resting = pace == Pace::Idle && self.may_suspend;
        if self.resting {
            self.nvml = None;
        }
    }

    fn read(&mut self, values: &mut Vec<(ChannelId, Value)>) {
        let channels = std::mem::take(&mut self.channels);
        let library = if self.resting { Err(ReasonCode::GatedOrAsleep) } else { self.library() };
        let mut device: Option<(u32, Result<Device<'_>, ReasonCode>)> = None;
        for &(channel, gpu, field) in &channels {
            if device.as_ref().is_none_or(|(index, _)| *index != gpu) {
                let opened = match &library {
                    Ok(nvml) => nvml.device_by_index(gpu).map_err(|error| code(&error)),
                    Err(code) => Err(*code),
                };
                device = Some((gpu, opened));
            }
            let value = match &device {
                Some((_, Ok(device))) => {
                    field.read(device).unwrap_or_else(|error| Value::Absent(code(&error)))
                }
                Some((_, Err(code))) => Value::Absent(*code),
                None => Value::Absent(ReasonCode::ReadError),
            };
            values.push((channel, value));
        }
        self.channels = channels;
    }
}
