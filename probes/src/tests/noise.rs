//! Whatever files hold, parsers answer with a value that can be true or a reason: random bytes, huge numbers,
//! lines of a MiB.

use slmscope_profiles::channel::Value;

use super::Board;

/// A small generator (xorshift, 64 bits): the same noise in every run.
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit.max(1) as u64).unwrap_or(0)
    }

    /// Text that resembles `like`, or nothing like it.
    pub(crate) fn text(&mut self, like: &[u8]) -> Vec<u8> {
        const NUMBERS: [&str; 12] = [
            "0",
            "-1",
            "4294967295",
            "18446744073709551615",
            "18446744073447456768",
            "9223372036854775808",
            "-9223372036854775808",
            "1e308",
            "nan",
            "inf",
            "99999999999999999999999999",
            "0x",
        ];
        match self.below(8) {
            0 => Vec::new(),
            1 => (0..self.below(200)).map(|_| self.below(256) as u8).collect(),
            2 => NUMBERS[self.below(NUMBERS.len())].as_bytes().to_vec(),
            3 => {
                let number = NUMBERS[self.below(NUMBERS.len())];
                String::from_utf8_lossy(like).replace(|c: char| c.is_ascii_digit(), number).into_bytes()
            }
            4 => like.get(..self.below(like.len() + 1)).unwrap_or_default().to_vec(),
            5 => {
                let mut text = like.to_vec();
                for _ in 0..=self.below(4) {
                    let (at, byte) = (self.below(text.len()), self.below(256) as u8);
                    if let Some(place) = text.get_mut(at) {
                        *place = byte;
                    }
                }
                text
            }
            6 => [like, like, like].concat(),
            _ if self.below(40) == 0 => vec![b'7'; 1 << 20],
            _ => b"\0\n\t: = - , @ %".repeat(self.below(9)),
        }
    }
}

/// Calls a parser with noise around an example.
pub(crate) fn against(like: &[u8], mut parse: impl FnMut(&[u8])) {
    let mut noise = Noise::new(like.len() as u64 + 1);
    for _ in 0..3000 {
        parse(&noise.text(like));
    }
    parse(&vec![b'9'; 1 << 20]);
    parse(&like.repeat((1 << 20) / like.len().max(1)));
}

/// A file for every parser that reads a tree.
const FILES: [(&str, &str); 98] = [
    ("proc/stat", "cpu  10 2 3 400 5 6 7 8 9 1\ncpu0 10 2 3 400 5 6 7 8 9 1\ncpu1 1 2 3 4\nintr 5\n"),
    ("proc/cpuinfo", "processor\t: 0\ncpu MHz\t: 2400.5\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b\n"),
    ("proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 500 kB\nSwapTotal: 10 kB\nSwapFree: 5 kB\n"),
    ("proc/pressure/cpu", "some avg10=1.00 avg60=0.00 avg300=0.00 total=1500000\n"),
    ("proc/pressure/irq", "full avg10=1.00 avg60=0.00 avg300=0.00 total=1500000\n"),
    ("etc/nv_tegra_release", "# R36 (release), REVISION: 4.3, GCID: 1\n"),
    ("etc/nvpmodel.conf", "< POWER_MODEL ID=0 NAME=MAXN >\n"),
    ("var/lib/nvpmodel/status", "pmode:0000 fmode:fanNull\n"),
    ("sys/firmware/devicetree/base/compatible", "nvidia,p3701-0000\0nvidia,tegra234\0"),
    ("sys/firmware/devicetree/base/model", "Board\0"),
    ("sys/class/dmi/id/product_name", "Jupiter"),
    ("sys/devices/system/cpu/present", "0-1"),
    ("sys/devices/system/cpu/cpu0/cpu_capacity", "512"),
    ("sys/devices/system/cpu/cpu1/cpu_capacity", "1024"),
    ("sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "0"),
    ("sys/devices/system/cpu/cpu0/topology/physical_package_id", "0"),
    ("sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "4"),
    ("sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count", "4"),
    ("sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_total_time_ms", "40"),
    ("sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq", "1800000"),
    ("sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq", "1800000"),
    ("sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq", "2400000"),
    ("sys/devices/system/cpu/cpufreq/policy0/scaling_governor", "schedutil"),
    ("sys/devices/system/cpu/cpufreq/policy0/related_cpus", "0 1"),
    ("sys/devices/cpu_core/cpus", "0"),
    ("sys/devices/cpu_atom/cpus", "1"),
    ("sys/class/powercap/intel-rapl:0/name", "package-0"),
    ("sys/class/powercap/intel-rapl:0/energy_uj", "7000000"),
    ("sys/class/powercap/intel-rapl:0/max_energy_range_uj", "262143328850"),
    ("sys/class/powercap/intel-rapl:0:0/name", "dram"),
    ("sys/class/powercap/intel-rapl:0:0/energy_uj", "7000000"),
    ("sys/class/thermal/thermal_zone0/type", "cpu-thermal"),
    ("sys/class/thermal/thermal_zone0/temp", "45000"),
    ("sys/class/thermal/thermal_zone0/mode", "enabled"),
    ("sys/class/thermal/thermal_zone0/trip_point_0_type", "passive"),
    ("sys/class/thermal/thermal_zone0/trip_point_0_temp", "95000"),
    ("sys/class/thermal/cooling_device0/type", "Processor"),
    ("sys/class/thermal/cooling_device0/cur_state", "3"),
    ("sys/devices/platform/soc/soc:firmware/get_throttled", "50005"),
    ("sys/class/hwmon/hwmon0/name", "ina3221"),
    ("sys/class/hwmon/hwmon0/in1_label", "VDD_IN"),
    ("sys/class/hwmon/hwmon0/in1_input", "5000"),
    ("sys/class/hwmon/hwmon0/in1_enable", "1"),
    ("sys/class/hwmon/hwmon0/curr1_input", "1500"),
    ("sys/class/hwmon/hwmon0/curr1_crit_alarm", "0"),
    ("sys/class/hwmon/hwmon1/name", "power_meter"),
    ("sys/class/hwmon/hwmon1/power1_average", "98000000"),
    ("sys/class/hwmon/hwmon1/device/power1_oem_info", "Module Power Socket 0"),
    ("sys/class/hwmon/hwmon2/name", "coretemp"),
    ("sys/class/hwmon/hwmon2/temp1_input", "45000"),
    ("sys/class/hwmon/hwmon2/temp1_label", "Package id 0"),
    ("sys/class/hwmon/hwmon2/temp1_fault", "0"),
    ("sys/class/hwmon/hwmon2/fan1_input", "900"),
    ("sys/class/hwmon/hwmon3/name", "ina4230"),
    ("sys/class/hwmon/hwmon3/in1_label", "vdd"),
    ("sys/class/hwmon/hwmon3/power1_input", "5000"),
    ("sys/class/hwmon/hwmon3/energy1_input", "5000"),
    ("sys/class/hwmon/hwmon4/name", "soctherm_oc"),
    ("sys/class/hwmon/hwmon4/oc1_event_cnt", "5"),
    ("sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_0", "POM_5V_IN"),
    ("sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power0_input", "933"),
    ("sys/class/power_supply/AC/type", "Mains"),
    ("sys/class/power_supply/AC/online", "0"),
    ("sys/class/power_supply/BAT0/type", "Battery"),
    ("sys/class/power_supply/BAT0/status", "Discharging"),
    ("sys/class/power_supply/BAT0/current_now", "1000000"),
    ("sys/class/power_supply/BAT0/voltage_now", "8000000"),
    ("sys/class/power_supply/BAT0/temp", "258"),
    ("sys/class/drm/card0/device/gpu_busy_percent", "40"),
    ("sys/class/drm/card0/device/mem_info_vram_used", "4000"),
    ("sys/class/drm/card0/device/mem_info_gtt_used", "4000"),
    ("sys/class/drm/card0/device/pp_dpm_sclk", "0: 500Mhz \n1: 848Mhz *\n"),
    ("sys/class/drm/card0/device/power/runtime_status", "active"),
    (
        "sys/class/drm/card0/device/gpu_metrics",
        "\x08\x01\x03\0 forty-two bytes and more of a table, of which some are read",
    ),
    ("slmscope-failures", "read 95 proc/pressure/io\nopen 13 sys/nothing\n"),
    ("sys/class/drm/card1/device/tile0/gt0/freq0/act_freq", "400"),
    ("sys/class/drm/card1/device/tile0/gt0/gtidle/idle_residency_ms", "90000"),
    ("sys/class/drm/card1/device/hwmon/hwmon9/energy1_input", "0"),
    ("sys/class/drm/card1/device/hwmon/hwmon9/energy2_input", "7000000"),
    ("sys/class/devfreq/fb000000.gpu/load", "12@300000000Hz"),
    ("sys/class/devfreq/fb000000.gpu/cur_freq", "300000000"),
    ("sys/class/devfreq/17000000.gpu/device/load", "421"),
    ("sys/class/devfreq/dmc/load", "11@528000000Hz"),
    ("sys/class/devfreq/dmc/cur_freq", "528000000"),
    ("sys/class/devfreq/fdab0000.npu/load", "0@300000000Hz"),
    ("sys/kernel/debug/rknpu/load", "NPU load:  Core0: 12%, Core1:  0%,"),
    ("sys/class/accel/accel0/device/npu_busy_time_us", "5000"),
    ("sys/class/accel/accel0/device/npu_memory_utilization", "5000"),
    ("sys/class/kgsl/kgsl-3d0/gpubusy", "250000 1000000"),
    ("sys/class/kgsl/kgsl-3d0/gpuclk", "585000000"),
    ("sys/devices/platform/v3dbus/fec00000.v3d/gpu_stats", "queue\ttimestamp\tjobs\truntime\ncsd\t9\t1\t7\n"),
    ("sys/kernel/actmon_avg_activity/mc_all", "63980"),
    ("sys/kernel/debug/bpmp/debug/clk/emc/rate", "3199000000"),
    ("sys/fs/resctrl/mon_data/mon_L3_00/mbm_total_bytes", "264830976"),
    ("sys/bus/event_source/devices/uncore_imc_0/type", "14"),
    ("sys/bus/event_source/devices/uncore_imc_0/format/event", "config:0-7"),
    ("sys/bus/event_source/devices/uncore_imc_0/events/cas_count_read", "event=0x04"),
    ("sys/bus/event_source/devices/uncore_imc_0/events/cas_count_read.scale", "6.103515625e-5"),
];

#[test]
fn every_file_may_hold_anything() {
    for seed in 0..8 {
        let mut noise = Noise::new(seed);
        let board = Board::new(&[]);
        // At discovery a quarter is noise; later everything is, one reading after another.
        for (path, text) in FILES {
            board.set(path, text);
            if noise.below(4) == 0 {
                std::fs::write(board.path(path), noise.text(text.as_bytes())).unwrap();
            }
        }
        let mut machine = board.start();
        for _ in 0..3 {
            for (path, text) in FILES {
                std::fs::write(board.path(path), noise.text(text.as_bytes())).unwrap();
            }
            for (id, value) in machine.read() {
                if let Value::Present(value) = value {
                    assert!(value.is_finite() && value.abs() < 1e20, "{id}: {value} (seed {seed})");
                }
            }
        }
        assert!(machine.channels.len() < 20_000);
    }
}

#[test]
fn the_example_files_are_all_read() {
    let board = Board::new(&FILES);
    let mut machine = board.start();
    let values = machine.read();
    let present = values.values().filter(|value| value.get().is_some()).count();
    assert!(present > 45, "{present} of {}: {values:?}", values.len());
}
