//! Temperatures, fans and what else hardware monitors and thermal zones report.

pub(crate) mod hwmon;
pub(crate) mod peers;
pub(crate) mod sensor_location;
pub(crate) mod thermal;
