//! Which clock the times of a batch were taken with, and how well they are known on the host's.
//!
//! Begin and end of a batch are always on CLOCK_MONOTONIC. The durations inside it are ticks of the clock that
//! is named here.

use serde::{Deserialize, Serialize};

use crate::words::open_words;

/// The clock of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ClockSource {
    /// CLOCK_MONOTONIC, read by the issuing thread.
    #[default]
    Host,
    /// A clock of the device.
    Device {
        /// How its ticks were placed on CLOCK_MONOTONIC.
        calibration: Calibration,
    },
    /// A clock that this build does not know.
    #[serde(other)]
    Unknown,
}

/// How ticks of a device were placed on CLOCK_MONOTONIC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calibration {
    /// The way it was done.
    pub method: CalibrationMethod,
    /// CLOCK_MONOTONIC minus the device's time, ns.
    pub offset_ns: i64,
    /// Begin and end of the batch lie within this of the truth, ns; `None` if they were not placed.
    pub error_ns: Option<u64>,
}

open_words! {
    /// How a device's clock was compared with the host's.
    pub enum CalibrationMethod {
        /// Both clocks were read by the driver at one moment.
        CalibratedPair = "calibrated_pair",
        /// The host read its clock before and after the device wrote a time stamp.
        Bracketed = "bracketed",
        /// Not at all: durations are right, their place is not known.
        Unplaced = "none",
    }
}
