//! Sensors that a firmware reads and shows under names of its own.

use super::Place::{BoardInput, Card, Cores, Dram, Machine, Package, Rail};
use super::{Driver, power, reported, temperature};

pub(super) static DRIVERS: &[Driver] = &[
    // Documentation/hwmon/ibmpowernv.rst; skiboot doc/device-tree/occ-sensors: the OCC has a slot for every GPU and
    // memory module that a chip may have, and 0 in those that are empty.
    Driver::new(
        &["ibmpowernv"],
        &[
            temperature("Chip * Core *", Package),
            temperature("Chip * GPU * MEM", Card),
            temperature("Chip * GPU *", Card),
            temperature("Chip * DIMM *", Dram),
            temperature("Chip * Nest", Package),
            temperature("Chip *", Package),
            temperature("*", Machine),
            power("System", BoardInput),
            power("Chip * Memory", Dram),
            power("Chip * GPU", Card),
            power("Chip * GPU *", Card),
            power("Chip * *", Rail),
            power("Chip *", Package),
            power("*", Rail),
        ],
    )
    .none(&[0.0]),
    // drivers/hwmon/macsmc-hwmon.c: keys of Apple's system controller. Heatpipe power is the controller's estimate of
    // heat, and no sensor of watts.
    Driver::new(
        &["macsmc_hwmon"],
        &[
            power("Total System Power", BoardInput),
            reported(power("*eatpipe*", Rail)),
            power("*", Rail),
            temperature("*CPU*", Package),
            temperature("*GPU*", Package),
            temperature("*SoC*", Package),
            temperature("*", Machine),
        ],
    ),
    // drivers/hwmon/scmi-hwmon.c, scpi-hwmon.c: what the platform's firmware calls its sensors.
    Driver::new(
        &["scmi_sensors", "scpi_sensors"],
        &[
            temperature("*PCB*", Machine),
            temperature("*pcb*", Machine),
            temperature("*oard*", Machine),
            temperature("*BOARD*", Machine),
            temperature("*AMB*", Machine),
            temperature("*mbient*", Machine),
            temperature("*SKIN*", Machine),
            temperature("*skin*", Machine),
            temperature("*PMIC*", Machine),
            temperature("*pmic*", Machine),
            temperature("*BAT*", Machine),
            temperature("*attery*", Machine),
            temperature("*", Package),
        ],
    ),
    // drivers/hwmon/xgene-hwmon.c, and the Altra's of Ampere.
    Driver::new(
        &["altra_hwmon", "apm_xgene"],
        &[
            temperature("*", Package),
            power("CPU power", Cores),
            power("Ecore*", Cores),
            power("*DIMM*", Dram),
            power("*DRAM*", Dram),
            power("*CPU*", Package),
            power("*", Rail),
        ],
    ),
];
