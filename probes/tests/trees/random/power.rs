//! What of a drawn machine draws or gives power, with what the report is to say of it.

use super::Machine;

impl Machine {
    /// Microwatts of something whole that runs, or what firmware without a sensor says.
    fn watts(&mut self, path: &str, (low, high): (i64, i64)) -> Option<f64> {
        let is_dead = self.random.one_in(4);
        let number = if is_dead {
            self.random.pick(&[0, 1000, 100_000])
        } else {
            self.random.between(low, high) * 1_000_000
        };
        let is_read = self.number(path, number);
        (is_read && !is_dead).then_some(number as f64 / 1e6)
    }

    pub(super) fn sockets(&mut self) {
        let driver = self.random.pick(&["amd_hsmp_hwmon", "fam15h_power"]);
        let mut sum = Some(0.0);
        for _ in 0..self.random.between(1, 2) {
            let folder = self.monitor(driver);
            let watts = self.watts(&format!("{folder}/power1_input"), (4, 400));
            sum = sum.zip(watts).map(|(sum, watts)| sum + watts);
            self.expect(&format!("power.{driver}_power1"), watts);
        }
        self.packages = sum;
    }

    pub(super) fn power9(&mut self) {
        let folder = self.monitor("ibmpowernv");
        self.tree.file(&format!("{folder}/power1_label"), "System");
        let watts = self.watts(&format!("{folder}/power1_input"), (100, 900));
        self.totals.extend(watts);
        self.expect("power.ibmpowernv_System", watts);
        self.tree.file(&format!("{folder}/temp1_label"), "Chip 0 DIMM 0");
        let celsius = self.temperature(&format!("{folder}/temp1_input"), (20, 50), &[0]);
        self.expect("temp.ibmpowernv_Chip_0_DIMM_0", celsius);
    }

    /// Monitors in leads that nothing names: none of them is the board.
    pub(super) fn extensions(&mut self) {
        self.tree.file("sys/firmware/devicetree/base/compatible", "raspberrypi,4-model-b\0brcm,bcm2711\0");
        for _ in 0..self.random.between(1, 2) {
            let folder = self.monitor("ina219");
            let millivolts = self.random.pick(&[3700, 4140, 7400, 5100, 12_100]);
            let milliamperes = if self.random.one_in(4) { 0 } else { self.random.between(-900, 900) };
            self.tree.file(&format!("{folder}/in1_input"), &millivolts.to_string());
            self.tree.file(&format!("{folder}/curr1_input"), &milliamperes.to_string());
            let microwatts = millivolts * milliamperes.abs();
            let is_read = self.number(&format!("{folder}/power1_input"), microwatts);
            let watts = microwatts as f64 / 1e6 * if milliamperes < 0 { -1.0 } else { 1.0 };
            self.expect("power.rail.ina219", is_read.then_some(watts));
        }
    }

    pub(super) fn labelled_rails(&mut self) {
        let folder = self.monitor("ina3221");
        for (input, label) in [(1, "VDD_IN"), (2, "VDD_SOC"), (3, "NC")] {
            if input == 3 && self.random.one_in(2) {
                continue;
            }
            self.tree.file(&format!("{folder}/in{input}_label"), label);
            let milliamperes = self.random.between(100, 3000);
            let volts = self.number(&format!("{folder}/in{input}_input"), 5000);
            let amperes = self.number(&format!("{folder}/curr{input}_input"), milliamperes);
            let watts = (volts && amperes).then_some(5.0 * milliamperes as f64 / 1e3);
            if label != "NC" {
                self.expect(&format!("power.rail.{label}"), watts);
            }
            if label == "VDD_IN" {
                self.totals.extend(watts);
            }
        }
    }

    pub(super) fn batteries(&mut self) {
        let count = self.random.between(1, 2);
        let status = self.random.pick(&["Discharging", "Charging", "Full", "Not charging"]);
        let adapter = self.random.pick(&[None, Some(0), Some(1)]);
        let mut is_plugged = false;
        if let Some(online) = adapter {
            self.tree.file("sys/class/power_supply/AC/type", "Mains");
            let is_read = self.number("sys/class/power_supply/AC/online", online);
            is_plugged = is_read && online == 1;
            let is_unplugged = is_read && online == 0;
            if self.random.one_in(3) {
                self.tree.file("sys/class/power_supply/mouse/type", "Mains");
                self.tree.file("sys/class/power_supply/mouse/scope", "Device");
                self.tree.file("sys/class/power_supply/mouse/online", "1");
            }
            self.packs(count, status, is_plugged, is_unplugged);
        } else {
            self.packs(count, status, is_plugged, false);
        }
    }

    fn packs(&mut self, count: i64, status: &str, is_plugged: bool, is_unplugged: bool) {
        let mut sum = Some(0.0);
        for pack in 0..count {
            let folder = format!("sys/class/power_supply/BAT{pack}");
            self.tree.file(&format!("{folder}/type"), "Battery");
            self.tree.file(&format!("{folder}/status"), status);
            let watts = self.random.between(3, 60);
            // Some drivers have a sign, most do not.
            let sign = if status == "Discharging" && self.random.one_in(3) { -1 } else { 1 };
            let is_read = self.number(&format!("{folder}/power_now"), sign * watts * 1_000_000);
            let is_drawn = match status {
                "Discharging" => true,
                "Charging" => false,
                _ => is_unplugged,
            };
            let watts = watts as f64 * if is_drawn { 1.0 } else { -1.0 };
            let shown = is_read.then_some(watts);
            sum = sum.zip(shown.filter(|watts| *watts > 0.0)).map(|(sum, watts)| sum + watts);
            self.expect(&format!("power.battery.BAT{pack}"), shown);
        }
        let sum = sum.filter(|_| !is_plugged);
        self.expect("power.battery", sum);
        self.totals.extend(sum);
    }

    pub(super) fn cards(&mut self) {
        for card in 0..self.random.between(1, 3) {
            let device = format!("sys/class/drm/card{card}/device");
            self.tree.file(&format!("{device}/mem_info_vram_used"), "4096");
            self.tree.file(&format!("{device}/hwmon/hwmon9{card}/name"), "amdgpu");
            self.expect(&format!("gpu{card}.vram_used"), Some(4096.0));
            let is_asleep = self.random.one_in(4);
            self.tree.file(
                &format!("{device}/power/runtime_status"),
                if is_asleep { "suspended" } else { "active" },
            );
            let watts = self.watts(&format!("{device}/hwmon/hwmon9{card}/power1_average"), (3, 300));
            let watts = watts.filter(|_| !is_asleep);
            if is_asleep {
                self.truth.insert(format!("gpu{card}.vram_used"), None);
                // What a sleeping card draws is not known, and so is no sum with it.
                self.packages = None;
            }
            self.cards.extend(watts);
            self.expect(&format!("gpu{card}.power"), watts);
        }
    }

    /// An accelerator card that its driver shows twice.
    pub(super) fn accelerator(&mut self) {
        let device = "sys/devices/pci0000:00/0000:01:00.0";
        let microwatts: i64 = self.random.pick(&[3_000_000, 22_000_000, 4_080_000_000, 0]);
        for _ in 0..2 {
            let number = self.monitors;
            self.monitors += 1;
            let folder = format!("{device}/hwmon/hwmon{number}");
            self.tree.file(&format!("{folder}/name"), "wormhole");
            self.tree.file(&format!("{folder}/power1_input"), &microwatts.to_string());
            self.tree.link(&format!("{folder}/device"), "../..");
            let target = format!("../../devices/pci0000:00/0000:01:00.0/hwmon/hwmon{number}");
            self.tree.link(&format!("sys/class/hwmon/hwmon{number}"), &target);
        }
        let watts = (1_000_000..1_000_000_000).contains(&microwatts).then_some(microwatts as f64 / 1e6);
        self.cards.extend(watts);
        self.expect("power.wormhole_power1", watts);
    }

    pub(super) fn meter(&mut self) {
        let folder = self.monitor("power_meter");
        let is_dead = self.random.one_in(3);
        let number = if is_dead {
            self.random.pick(&[0, 4_294_967_295_000])
        } else {
            self.random.between(30, 900) * 1_000_000
        };
        let is_read = self.number(&format!("{folder}/power1_average"), number);
        let watts = (is_read && !is_dead).then_some(number as f64 / 1e6);
        self.totals.extend(watts);
        self.expect("power.power_meter_power1", watts);
    }
}
