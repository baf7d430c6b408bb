//! Current monitors, power supplies, and devices whose power the machine does not draw.

use super::Place::{Platform, Rail};
use super::{Driver, fits, power};

/// Monitors of current and voltage, whose purpose depends on where a board's maker or its owner put them.
/// drivers/hwmon/ina2xx.c, ina238.c, ina3221.c, isl28022.c, ltc2945.c, ltc4151.c, pac1934 (IIO).
const MONITORS: &[&str] = &[
    "ina*", "sq52206", "sy24655", "isl28022", "ltc2945", "ltc2947", "ltc2991", "ltc2992", "ltc4151",
    "max34407", "pac19*",
];

/// Devices whose monitors show something else than what the machine draws: the limits of chargers and USB sources,
/// fans, disks and network cards.
const NOT_DRAWN: &[&str] =
    &["acpi_fan*", "ucsi_source*", "tcpm_source*", "nvme*", "mlx*", "iwlwifi*", "mt79*", "*source_psy*"];

/// The power of one lithium cell and of two in series, V: from empty to the end of charging, with some tolerance.
/// Supplies of 3.3 V would be in here too, but nobody measures one with an extension board.
const CELLS: [(f64, f64); 2] = [(3.0, 4.3), (6.0, 8.6)];

/// Whether a bus at this voltage suggests lithium cells.
pub(crate) fn is_cells(volts: f64) -> bool {
    CELLS.iter().any(|&(low, high)| (low..=high).contains(&volts))
}

/// Whether the driver is that of current monitors.
pub(crate) fn is_monitor(driver: &str) -> bool {
    MONITORS.iter().any(|pattern| fits(pattern, driver))
}

/// Whether the driver shows something else than what the machine draws.
pub(crate) fn is_not_drawn(driver: &str) -> bool {
    NOT_DRAWN.iter().any(|pattern| fits(pattern, driver))
}

pub(super) static DRIVERS: &[Driver] = &[
    // Supplies with PMBus, drivers/hwmon/pmbus/: `pin` is what one takes from the wall. All of them together feed the
    // machine; converters on the board are rails.
    Driver::new(
        &[
            "cffps*",
            "ibm-cffps*",
            "dps*",
            "pfe*",
            "fsp*",
            "crps*",
            "acbel*",
            "bel-*",
            "inspur-ipsps*",
            "ipsps*",
            "q54sj*",
        ],
        &[power("pin*", Platform), power("*", Rail)],
    ),
];
