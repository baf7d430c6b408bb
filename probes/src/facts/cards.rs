//! Graphics and accelerator cards that show sensors in hwmon.

use super::Place::Card;
use super::{Driver, power, temperature};

pub(super) static DRIVERS: &[Driver] = &[
    Driver::new(&["amdgpu", "radeon", "nouveau", "i915", "xe"], &[temperature("*", Card), power("*", Card)]),
    // tt-kmd's hwmon.c. The widest card of each generation takes 300 and 600 W.
    Driver::new(&["grayskull", "wormhole"], &[temperature("*", Card), power("*", Card)]).most(450.0),
    Driver::new(&["blackhole"], &[temperature("*", Card), power("*", Card)]).most(900.0),
    // drivers/accel/habanalabs/common/hwmon.c; Gaudi 3 is specified with 900 W, liquid-cooled 1200 W.
    Driver::new(&["habanalabs*", "hl*", "HL*"], &[temperature("*", Card), power("*", Card)]).most(1500.0),
    // drivers/accel/qaic, Hailo and FPGA cards of AMD (xocl's xclmgmt), all below the 300 W of their slots and plugs.
    Driver::new(
        &["qaic*", "hailo*", "xclmgmt*", "xmc*", "axelera*", "furiosa*", "rngd*", "rebel*"],
        &[temperature("*", Card), power("*", Card)],
    )
    .most(600.0),
];
