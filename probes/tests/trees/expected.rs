//! What the captured trees hold, row by row.

use slmscope_profiles::channel::{Class, ReasonCode};

/// What a row of the report must hold.
pub(crate) enum Expectation {
    /// A value, to nine digits.
    Value(f64),
    /// No value, for this reason.
    Reason(ReasonCode),
    /// What it covers.
    Covers(&'static str),
    /// How far it can be trusted.
    Is(Class),
    /// There is no such row.
    Nothing,
}

use Expectation::{Covers, Is, Nothing, Reason, Value};
use ReasonCode::{Implausible, NeedsTwoReadings, NoSuchInterface, NotAFile, NotSupported};

/// Zones, rails, totals, scopes, temperatures, clocks, GPUs and batteries of every captured tree. Values are what
/// its files hold, in SI units.
pub(crate) const EXPECTED: &[(&str, &[(&str, Expectation)])] = &[
    (
        "amd-desktop-ryzen1600-rx580",
        &[
            ("gpu0.busy", Value(0.11)),
            ("gpu0.memory_busy", Value(0.02)),
            ("gpu0.vram_used", Value(536_870_912.0)),
            ("gpu0.vram_total", Value(4_294_967_296.0)),
            ("gpu0.clock", Value(798_080_000.0)),
            ("gpu0.power", Value(41.045)),
            ("gpu0.power", Covers("gpu")),
            ("temp.amdgpu_edge", Value(44.0)),
            ("fan.amdgpu_fan1", Value(595.0)),
            ("power.board", Reason(NoSuchInterface)),
            ("energy.package", Reason(NoSuchInterface)),
            ("throttle.cpu", Reason(NoSuchInterface)),
            ("gpu1.busy", Nothing),
        ],
    ),
    (
        "amd-epyc7451-2s-rx6900xt",
        &[
            ("gpu0.busy", Value(0.03)),
            ("gpu0.power", Value(36.0)),
            ("gpu0.memory_busy", Value(0.0)),
            ("throttle.gpu0.thermal", Reason(NotSupported)),
            ("temp.amdgpu_junction", Value(59.0)),
            ("temp.amdgpu_mem", Value(54.0)),
            ("freq.cpu0", Value(2_893_313_000.0)),
            ("fan.amdgpu_fan1", Value(0.0)),
        ],
    ),
    (
        "amd-opteron6328-2s-offline",
        &[
            ("freq.cpu0", Value(1_611_685_000.0)),
            ("freq.cpu16", Nothing),
            ("cpu.cpu31", Nothing),
            ("power.board", Reason(NoSuchInterface)),
            ("gpu0.busy", Reason(NoSuchInterface)),
        ],
    ),
    (
        "amd-strixpoint-apu",
        &[
            ("gpu0.vram_used", Value(514_580_480.0)),
            ("gpu0.gtt_used", Value(3_946_811_392.0)),
            ("gpu0.memory_used", Value(4_461_391_872.0)),
            ("gpu0.power", Value(9.087)),
            ("gpu0.power", Covers("package")),
            ("membw.gpu0.read", Value(2.504e9)),
            ("membw.gpu0.write", Value(6.37e8)),
            ("membw.gpu0.write", Is(Class::Reported)),
            ("throttle.gpu0.prochot", Value(28.0)),
            ("energy.package-0", Value(45_514.845_753)),
            ("energy.core-0", Reason(NotSupported)),
            ("power.package-0", Reason(NeedsTwoReadings)),
            ("power.board", Reason(NeedsTwoReadings)),
            ("power.board", Covers("package")),
        ],
    ),
    (
        "arm64-snapdragon8gen2-android",
        &[
            ("freq.cpu0", Value(1_017_600_000.0)),
            ("freq.cpu0", Is(Class::Reported)),
            ("throttle.cpu0.limit", Value(0.504_761_905)),
            ("power.board", Reason(NoSuchInterface)),
            ("temp.cpu", Reason(NoSuchInterface)),
            ("gpu0.busy", Reason(NoSuchInterface)),
        ],
    ),
    (
        "battery-hp-no-current",
        &[("power.battery.BAT0", Reason(NoSuchInterface)), ("power.board", Reason(NoSuchInterface))],
    ),
    (
        "battery-ma-units",
        &[
            ("power.battery.battery", Reason(Implausible)),
            ("temp.battery.battery", Value(25.8)),
            ("power.board", Reason(NoSuchInterface)),
        ],
    ),
    (
        "drm-fdinfo-samples",
        &[("gpu0.busy", Reason(NoSuchInterface)), ("cpu.worker", Reason(NoSuchInterface))],
    ),
    (
        "flipper-one-rk3576",
        &[
            ("power.rail.vdd0v75_cpu_big_s0", Value(0.10189)),
            ("power.rail.vdd0v75_cpu_big_s0", Covers("rail:vdd0v75_cpu_big_s0")),
            ("energy.rail.vcc_3v3_s3", Value(2000.0)),
            ("power.rail.ina219", Value(3.45)),
            ("power.board", Value(3.45)),
            ("power.board", Covers("board-input")),
            // It is charged: 14 W that the machine does not draw.
            ("power.battery.bq28z610-0", Value(-14.0766)),
            ("temp.battery.bq28z610-0", Value(45.8)),
            ("temp.package-thermal", Value(54.5)),
            ("temp.package_thermal_temp1", Nothing),
            ("gpu0.clock", Value(300_000_000.0)),
            ("gpu0.busy", Reason(NotSupported)),
            ("power.battery.tcpm-source-psy-2-0022", Nothing),
            ("freq.cpu7", Value(2_208_000_000.0)),
        ],
    ),
    (
        "intel-i7-1270p-arc-b580-xe",
        &[
            ("gpu0.energy", Value(29_523.753_173)),
            ("gpu0.energy", Covers("gpu")),
            ("gpu0.power", Reason(NeedsTwoReadings)),
            ("gpu0.clock", Value(400_000_000.0)),
            ("gpu0.idle.time", Value(848.095)),
            ("gpu0.busy", Reason(NeedsTwoReadings)),
            ("gpu0.vram_used", Reason(NotSupported)),
            ("temp.xe_pkg", Value(46.0)),
            ("temp.xe_vram", Value(48.0)),
            ("throttle.gpu0.thermal", Value(0.0)),
            ("fan.xe_fan2", Value(418.0)),
            ("freq.cpu0", Is(Class::Reported)),
        ],
    ),
    (
        "intel-i7-1370p-arc-a380-i915",
        &[
            ("gpu0.energy", Value(25_637.161_804)),
            ("gpu0.clock", Value(600_000_000.0)),
            ("gpu0.idle.time", Value(6.534)),
            ("temp.i915_temp1", Value(55.0)),
            ("freq.cpu0", Value(1_170_889_000.0)),
        ],
    ),
    (
        "intel-server-4s-smp01",
        &[
            ("energy.package-3", Value(226_618.687_799)),
            ("energy.package-0", Value(143_013.545_932)),
            ("energy.package-0", Covers("package")),
            ("energy.dram-1", Value(32_651.449_214)),
            ("energy.dram-1", Covers("dram")),
            ("power.package-1", Reason(NeedsTwoReadings)),
            ("energy.board", Value(765_087.241_257)),
            ("power.board", Covers("rail:package+dram")),
            ("power.board", Reason(NeedsTwoReadings)),
            ("membw.L3-02.bytes", Value(974_782_464.0)),
            ("membw.dram.bytes", Value(2_208_497_664.0)),
            ("membw.dram", Reason(NeedsTwoReadings)),
        ],
    ),
    (
        "jetson-agx-orin-jp5",
        &[
            ("power.rail.VDD_GPU_SOC", Value(4.79424)),
            ("power.rail.VDDQ_VDD2_1V8AO", Value(0.70896)),
            ("power.rail.NC", Nothing),
            // No sensor at the input: the rails that the board's description lists.
            ("power.board", Value(10.84864)),
            ("power.board", Covers("rail:VDD_GPU_SOC+VDD_CPU_CV+VIN_SYS_5V0+VDDQ_VDD2_1V8AO")),
            ("power.board", Is(Class::Derived)),
            ("temp.tj-therm", Value(72.0)),
            ("temp.tj-therm", Covers("package")),
            // Its network chip is the hottest thing of the board.
            ("temp.6810000ethernet00_mdio_0_temp1", Value(95.7)),
            ("temp.6810000ethernet00_mdio_0_temp1", Covers("machine")),
            ("temp.CV0-therm", Reason(NotAFile)),
            ("membw.emc.busy", Value(0.02)),
            ("membw.emc.busy", Is(Class::Modelled)),
            ("gpu0.busy", Value(0.0)),
            ("gpu0.clock", Value(306_000_000.0)),
            ("gpu1.busy", Nothing),
        ],
    ),
    (
        "jetson-nano-jp4-constructed",
        &[
            ("power.rail.POM_5V_IN", Value(0.933)),
            ("power.rail.POM_5V_IN", Is(Class::Measured)),
            ("power.rail.POM_5V_CPU", Value(0.084)),
            ("power.board", Value(0.933)),
            ("temp.PMIC-Die", Reason(Implausible)),
            ("temp.CPU-therm", Value(23.0)),
            ("gpu0.busy", Value(0.0)),
            ("gpu1.busy", Nothing),
            ("freq.emc", Value(1_600_000_000.0)),
        ],
    ),
    (
        "jetson-orin-nano-jp5",
        &[
            ("power.rail.VDD_IN", Value(4.832_256)),
            ("power.rail.VDD_IN", Covers("board-input")),
            ("power.rail.VDD_IN", Is(Class::Derived)),
            ("power.board", Value(4.832_256)),
            ("power.rail.VDD_SOC", Covers("rail:VDD_SOC")),
            ("power.rail.sum_of_shunt_voltages", Nothing),
            ("temp.CV1-therm", Reason(NotAFile)),
            ("temp.SOC2-therm", Value(46.2)),
            ("membw.emc.busy", Value(0.05)),
            ("gpu0.busy", Value(0.0)),
            ("gpu1.busy", Nothing),
        ],
    ),
    (
        "jetson-orin-nano-super-jp6",
        &[
            ("power.board", Value(6.130_432)),
            ("freq.emc", Value(3_199_000_000.0)),
            ("membw.emc.busy", Value(0.0)),
            ("gpu0.clock", Value(918_000_000.0)),
            ("temp.nvme_Composite", Value(53.85)),
        ],
    ),
    (
        "laptop-thinkpad-9cell",
        &[
            ("power.battery.BAT0", Value(15.453)),
            ("power.board", Value(15.453)),
            ("power.board", Covers("battery")),
        ],
    ),
    (
        "laptop-thinkpad-dual-battery",
        &[
            ("power.battery.BAT0", Value(27.758)),
            ("power.battery.BAT1", Value(0.0)),
            ("power.board", Value(27.758)),
            ("power.board", Covers("battery")),
        ],
    ),
    (
        "laptop-toshiba-charge-battery",
        // 1000 µA: a trickle, for it is full and the mains are online.
        &[("power.battery.BAT1", Value(-0.012_439)), ("power.board", Reason(NoSuchInterface))],
    ),
    (
        "nvidia-gb10",
        &[
            ("power.board", Reason(NoSuchInterface)),
            ("fan.acpi_fan_fan1", Is(Class::Reported)),
            ("temp.acpitz#7", Value(38.8)),
            ("freq.cpu0", Value(2_808_000_000.0)),
        ],
    ),
    (
        "orangepi5-rk3588s",
        &[
            ("power.board", Reason(NoSuchInterface)),
            ("temp.soc-thermal", Value(26.8)),
            ("membw.dmc.busy", Value(0.11)),
            ("membw.dmc.busy", Is(Class::Modelled)),
            ("freq.dmc", Value(528_000_000.0)),
            ("membw.dram", Reason(NoSuchInterface)),
            ("gpu0.busy", Value(0.0)),
            ("npu0.busy", Value(0.0)),
            ("npu0.clock", Value(300_000_000.0)),
            ("gpu1.busy", Nothing),
        ],
    ),
    (
        "raspberry-pi-4b-ups",
        &[
            // 4.2 V are a cell's, and it is not what the board draws.
            ("power.rail.ina219", Value(-0.176)),
            ("power.rail.ina219", Covers("battery")),
            ("power.board", Reason(NoSuchInterface)),
            ("throttle.under_voltage", Value(1.0)),
            ("throttle.capped", Value(0.0)),
            ("throttle.throttled.since_boot", Value(1.0)),
            ("gpu0.busy.time", Value(54.0)),
            ("temp.cpu-thermal", Value(35.0)),
            ("temp.cpu_thermal_temp1", Nothing),
        ],
    ),
    (
        "raspberry-pi-5b",
        &[
            ("power.board", Reason(NoSuchInterface)),
            ("power.rail.pmic", Reason(NoSuchInterface)),
            ("throttle.under_voltage", Value(0.0)),
            ("gpu0.busy.time", Value(0.0)),
            ("temp.cpu-thermal", Value(21.0)),
            ("temp.cpu_thermal_temp1", Nothing),
            // The air, by its own name.
            ("temp.sht4x_temp1", Value(17.0)),
        ],
    ),
    (
        "server-xeon-8260-4s",
        &[
            ("energy.package-2", Value(45_752.156_738)),
            ("energy.dram-3", Value(53_716.233_123)),
            ("energy.board", Value(271_378.112_952)),
            ("freq.cpu0", Reason(NoSuchInterface)),
        ],
    ),
    (
        "steamdeck-vangogh",
        &[
            ("gpu0.power", Value(3.218)),
            ("gpu0.power", Covers("package")),
            ("power.amdgpu_fastPPT", Nothing),
            ("power.battery.BAT1", Value(14.8225)),
            ("power.board", Value(14.8225)),
            ("temp.amdgpu_edge", Value(56.0)),
        ],
    ),
    (
        "vm-kvm-offline-cpus",
        &[
            ("freq.cpu0", Value(2_593_904_000.0)),
            ("energy.package", Reason(NoSuchInterface)),
            ("fan.fan1", Reason(NoSuchInterface)),
        ],
    ),
    (
        "vm-virtualbox-2cpu",
        &[
            ("freq.cpu0", Reason(NoSuchInterface)),
            ("temp.cpu", Reason(NoSuchInterface)),
            ("power.board", Reason(NoSuchInterface)),
        ],
    ),
    (
        "x86-laptop-nodeexporter",
        &[
            ("energy.package-0", Value(240_422.366_267)),
            ("energy.core-0", Covers("cores")),
            ("power.battery.BAT0", Value(5.002)),
            ("power.board", Value(5.002)),
            ("temp.coretemp_Core_0#2", Value(54.0)),
            ("freq.cpu3", Reason(Implausible)),
            ("psi.irq.full", Reason(NeedsTwoReadings)),
            ("psi.irq.some", Nothing),
            ("throttle.package-0", Value(30.0)),
            ("throttle.cooling.Processor", Value(0.0)),
        ],
    ),
    (
        "x86-laptop-tigerlake-i7-1165g7",
        &[
            ("freq.cpu0", Value(1_928_661_000.0)),
            ("freq.cpu8", Nothing),
            ("gpu0.power", Nothing),
            ("gpu0.energy", Nothing),
            ("power.board", Reason(NoSuchInterface)),
        ],
    ),
];
