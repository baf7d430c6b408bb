//! Energy counters, batteries and power meters, and the total of the board.

pub(crate) mod battery;
pub(crate) mod cray;
pub(crate) mod iio;
pub(crate) mod ipmi;
pub(crate) mod pmic;
pub(crate) mod powercap;
pub(crate) mod scmi;
pub(crate) mod total;
