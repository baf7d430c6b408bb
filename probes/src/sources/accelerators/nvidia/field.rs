//! What is asked of each processor.

use nvml_wrapper::Device;
use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::enums::device::SampleValue;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::sys_exports::field_id::NVML_FI_DEV_POWER_INSTANT;
use slmscope_profiles::channel::{Class, Quantity, ReasonCode, Scope, Unit, Value};

use crate::catalogue::Entry;
use crate::source::Group;
use crate::sources::files::Limits;
use crate::sources::sensors::hwmon::watts_of;

/// Reasons that hold the clocks below what the work would use. An idle processor and clocks that were set
/// are none.
const SLOWED: ThrottleReasons = ThrottleReasons::SW_POWER_CAP
    .union(ThrottleReasons::HW_SLOWDOWN)
    .union(ThrottleReasons::SW_THERMAL_SLOWDOWN)
    .union(ThrottleReasons::HW_THERMAL_SLOWDOWN)
    .union(ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Busy,
    /// Share of time in which the memory's controller worked; not a share of its bandwidth.
    MemoryBusy,
    VramUsed,
    Clock,
    /// Power at this moment: drivers of 2023 and later.
    PowerInstant,
    /// Power as older drivers report it; from Ampere on this is a mean over one second.
    PowerUsage,
    Energy,
    Temperature,
    Throttled,
}

impl Field {
    /// All of them; of the two for power, the first that answers counts.
    pub(super) const ALL: [Self; 9] = [
        Self::Busy,
        Self::MemoryBusy,
        Self::VramUsed,
        Self::Clock,
        Self::PowerInstant,
        Self::PowerUsage,
        Self::Energy,
        Self::Temperature,
        Self::Throttled,
    ];

    pub(super) fn entry(self, gpu: u32) -> Entry {
        use Quantity::{Energy, Gpu, Power, Temperature, Throttle};
        let of_gpu = |what: &str| format!("gpu{gpu}.{what}");
        let (id, quantity, unit, call) = match self {
            Self::Busy => (of_gpu("busy"), Gpu, Unit::Ratio, "nvmlDeviceGetUtilizationRates"),
            Self::MemoryBusy => {
                (of_gpu("memory_busy"), Gpu, Unit::Ratio, "nvmlDeviceGetUtilizationRates (memory controller)")
            }
            Self::VramUsed => (of_gpu("vram_used"), Gpu, Unit::Bytes, "nvmlDeviceGetMemoryInfo_v2"),
            Self::Clock => (of_gpu("clock"), Gpu, Unit::Hertz, "nvmlDeviceGetClockInfo"),
            Self::PowerInstant => (of_gpu("power"), Power, Unit::Watts, "NVML_FI_DEV_POWER_INSTANT"),
            Self::PowerUsage => {
                let call = "nvmlDeviceGetPowerUsage (mean over 1 s on Ampere and later)";
                (of_gpu("power"), Power, Unit::Watts, call)
            }
            Self::Energy => (of_gpu("energy"), Energy, Unit::Joules, "nvmlDeviceGetTotalEnergyConsumption"),
            Self::Temperature => {
                (format!("temp.gpu{gpu}"), Temperature, Unit::Celsius, "nvmlDeviceGetTemperature")
            }
            Self::Throttled => {
                let call = "nvmlDeviceGetCurrentClocksThrottleReasons";
                (format!("throttle.gpu{gpu}"), Throttle, Unit::Count, call)
            }
        };
        let scope = if matches!(quantity, Power | Energy) { Scope::Gpu } else { Scope::GpuN(gpu) };
        let class = if self == Self::Throttled { Class::Reported } else { Class::Measured };
        Entry { id, quantity, unit, scope, class, source: call.to_owned(), group: Group::Gpu }
    }

    /// The value in the channel's unit.
    pub(super) fn read(self, device: &Device<'_>) -> Result<Value, NvmlError> {
        let (value, limits) = match self {
            Self::Busy => (f64::from(device.utilization_rates()?.gpu) / 100.0, Limits::new(0.0, 1.0)),
            Self::MemoryBusy => {
                (f64::from(device.utilization_rates()?.memory) / 100.0, Limits::new(0.0, 1.0))
            }
            Self::VramUsed => (device.memory_info()?.used as f64, Limits::new(0.0, 1e15)),
            Self::Clock => (f64::from(device.clock_info(Clock::SM)?) * 1e6, Limits::new(0.0, 1e10)),
            Self::PowerInstant => (power_instant(device)?, watts_of(&Scope::Gpu, 1e4)),
            Self::PowerUsage => (f64::from(device.power_usage()?) / 1e3, watts_of(&Scope::Gpu, 1e4)),
            Self::Energy => (device.total_energy_consumption()? as f64 / 1e3, Limits::new(0.0, 1e15)),
            Self::Temperature => {
                (f64::from(device.temperature(TemperatureSensor::Gpu)?), Limits::new(-60.0, 126.0))
            }
            Self::Throttled => {
                let slowed = device.current_throttle_reasons()?.intersects(SLOWED);
                (f64::from(u8::from(slowed)), Limits::new(0.0, 1.0))
            }
        };
        Ok(limits.check(value))
    }
}

/// W
fn power_instant(device: &Device<'_>) -> Result<f64, NvmlError> {
    let values = device.field_values_for(&[FieldId(NVML_FI_DEV_POWER_INSTANT)])?;
    match values.into_iter().next().ok_or(NvmlError::NotFound)??.value? {
        SampleValue::U32(milliwatts) => Ok(f64::from(milliwatts) / 1e3),
        SampleValue::U64(milliwatts) => Ok(milliwatts as f64 / 1e3),
        SampleValue::F64(_) | SampleValue::I64(_) => Err(NvmlError::NotSupported),
    }
}

pub(super) fn code(error: &NvmlError) -> ReasonCode {
    match error {
        // A library that is older than the function.
        NvmlError::NotSupported | NvmlError::FailedToLoadSymbol(_) => ReasonCode::NotSupported,
        NvmlError::NoPermission => ReasonCode::Permission,
        NvmlError::GpuLost => ReasonCode::Vanished,
        NvmlError::Timeout => ReasonCode::Deadline,
        NvmlError::LibloadingError(_) | NvmlError::DriverNotLoaded | NvmlError::LibraryNotFound => {
            ReasonCode::NoSuchInterface
        }
        _ => ReasonCode::ReadError,
    }
}

/// Whether the answer will be the same for as long as the driver is.
pub(super) fn is_final(error: &NvmlError) -> bool {
    matches!(error, NvmlError::NotSupported | NvmlError::FailedToLoadSymbol(_) | NvmlError::NoPermission)
}
