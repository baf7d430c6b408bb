//! Sensors inside a processor, and drivers that show its energy or power.

use super::Place::{Cores, Machine, Package, Rail};
use super::{Driver, power, temperature};

pub(super) static DRIVERS: &[Driver] = &[
    Driver::new(&["coretemp", "via_cputemp", "k8temp"], &[temperature("*", Package)]),
    // drivers/hwmon/k10temp.c: Tctl controls the fan, Tdie is the die. Which of them is a scale is decided where the
    // family of the processor is known.
    Driver::new(&["k10temp"], &[temperature("*", Package)]),
    // zenpower, zenpower3 and zenpower5 (zenpower.c): SVI2 telemetry of the cores' and the SoC's supply, or RAPL; with two
    // nodes `cpu0 ` stands before the label.
    Driver::new(
        &["zenpower"],
        &[
            temperature("*", Package),
            power("*RAPL_P_Package", Package),
            power("*RAPL_P_Core", Cores),
            power("*SVI2_P_Core", Cores),
            power("*", Rail),
        ],
    ),
    // drivers/hwmon/amd_energy.c (Linux 5.8 to 5.12) and its descendant zenergy: one counter a core and a socket.
    Driver::new(
        &["amd_energy", "zenergy"],
        &[power("Esocket*", Package), power("Ecore*", Cores), power("*", Rail)],
    ),
    // drivers/platform/x86/amd/hsmp/hwmon.c: HSMP_GET_SOCKET_POWER, mW × 1000; one device a socket.
    Driver::new(&["amd_hsmp_hwmon"], &[power("*", Package)]),
    // drivers/hwmon/fam15h_power.c: power1 is the processor's estimate of its own power.
    Driver::new(&["fam1*h_power"], &[power("*", Package)]),
    // On-die process, voltage and temperature sensors: drivers/hwmon/mr75203.c (`pvt`), sfctemp.c, and what device
    // trees call the sensor of a RISC-V chip.
    Driver::new(
        &["*.tmon", "*.temperature-sensor", "*.tsensor", "*.pvt", "sfctemp", "pvt", "bl_pvt", "bt1_pvt"],
        &[temperature("*", Package)],
    ),
    // drivers/hwmon/sg2042-mcu.c: temp1 is the SoC, temp2 the board.
    Driver::new(
        &["sg2042_mcu", "mango_mcu", "sg2042mcu"],
        &[temperature("SoC*", Package), temperature("SOC*", Package), temperature("*oard*", Machine)],
    ),
];
