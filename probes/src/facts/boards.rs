//! Chips on the board: super-I/O, embedded controllers, and sensors of the air and of drives.

use super::Driver;

/// What super-I/O chips and controllers show where no thermistor is fitted: the ends of their scales, and the byte
/// 0x80. A running board passes through these values, but is not on them exactly.
const OPEN: &[f64] = &[-40.0, -55.0, -128.0, -127.0, 128.0];

pub(super) static DRIVERS: &[Driver] = &[
    // drivers/platform/x86/lenovo/thinkpad_acpi.c: 0 in a register of the controller is a sensor that this model lacks.
    Driver::new(&["thinkpad"], &[]).none(&[0.0, -128.0, 128.0]),
    // drivers/hwmon/nct6775-core.c, it87.c, f71882fg.c, w83627*.c; asus-ec-sensors.c and others: 0 is a source that is
    // selected and does not answer, as PCH and PECI do on boards of the other maker.
    Driver::new(&["nct6*", "nct7*", "it8*", "f71*", "f818*", "w83*", "sch56*", "dme1737", "smsc47*"], &[])
        .none(OPEN),
    Driver::new(
        &[
            "asusec",
            "asus_ec_sensors",
            "asus_wmi_sensors",
            "gigabyte_wmi",
            "dell_smm",
            "dell_ddv",
            "hp",
            "hp_wmi*",
            "steamdeck_hwmon",
            "oxp*",
            "cros_ec",
            "framework_laptop",
            "applesmc",
            "acer",
            "msi_ec",
            "surface_*",
        ],
        &[],
    )
    .none(OPEN),
    // Sensors of the air and of drives measure cold that is real: no value of theirs is a sentinel but the one that
    // their data sheets name. 85 °C of a DS18B20 is its reset value.
    Driver::new(&["w1_slave_temp"], &[]).none(&[85.0]),
];

/// Drivers of sensors whose surroundings may truly be at 0 °C, or at the end of another chip's scale.
pub(crate) const OPEN_AIR: &[&str] = &[
    "sht*",
    "hdc*",
    "bme*",
    "bmp*",
    "htu*",
    "si7*",
    "lm75*",
    "lm7*",
    "lm90",
    "tmp*",
    "ds1*",
    "ds6*",
    "ds7*",
    "w1_*",
    "adt7*",
    "max3*",
    "max6*",
    "mcp9*",
    "jc42",
    "spd5118",
    "nvme",
    "drivetemp",
    "pct2*",
    "stts*",
    "emc*",
    "g76*",
    "at30*",
];
