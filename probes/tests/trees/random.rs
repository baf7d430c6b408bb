//! Machines at random, from what the rules are about: sensors that are there, absent, failing, parked, far from anything or
//! twice. The truth of each is known, and the report may hold no number that it does not.
//!
//! `SLMSCOPE_MACHINES` sets how many are drawn; with `TMPDIR=/dev/shm` ten thousand take some minutes.

use std::collections::BTreeMap;

use slmscope_profiles::channel::Quantity;

use crate::tree::Tree;

/// How many machines are drawn where nothing else is said.
const MACHINES: u64 = 500;

#[test]
fn no_machine_has_a_number_that_is_not_true() {
    let count =
        std::env::var("SLMSCOPE_MACHINES").ok().and_then(|count| count.parse().ok()).unwrap_or(MACHINES);
    let (mut numbers, mut totals) = (0, 0);
    for seed in 0..count {
        let (some, total) = Machine::draw(seed).check();
        numbers += some;
        totals += u64::from(total);
    }
    println!("{count} machines, {numbers} numbers, {totals} with a total of the board");
    assert!(numbers > 5 * count && totals > count / 10, "{numbers} numbers and {totals} totals prove little");
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1) as u64) as i64
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

/// Draws a part of a machine.
type Block = fn(&mut Machine);

struct Machine {
    seed: u64,
    random: Random,
    tree: Tree,
    failures: String,
    monitors: u32,
    zones: u32,
    /// What a row must say: a number, or none.
    truth: BTreeMap<String, Option<f64>>,
    /// Sums that are what the whole machine draws.
    totals: Vec<f64>,
    /// Watts of all packages; `None` where one of them tells none.
    packages: Option<f64>,
    /// Watts of each card that tells them.
    cards: Vec<f64>,
    /// It has just been started, outside at 2 °C.
    is_cold: bool,
}

impl Machine {
    fn draw(seed: u64) -> Self {
        let mut random = Random(seed);
        let is_cold = random.one_in(8);
        let mut machine = Self {
            seed,
            random,
            tree: Tree::new(&[]),
            failures: String::new(),
            monitors: 0,
            zones: 0,
            truth: BTreeMap::new(),
            totals: Vec::new(),
            packages: None,
            cards: Vec::new(),
            is_cold,
        };
        let blocks: [(u64, Block); 12] = [
            (2, Self::processor),
            (2, Self::board_chip),
            (2, Self::zones),
            (4, Self::thinkpad),
            (3, Self::sockets),
            (6, Self::power9),
            (3, Self::extensions),
            (4, Self::labelled_rails),
            (2, Self::batteries),
            (3, Self::cards),
            (4, Self::accelerator),
            (5, Self::meter),
        ];
        for (one_in, block) in blocks {
            if machine.random.one_in(one_in) {
                block(&mut machine);
            }
        }
        machine.tree.file("slmscope-failures", &machine.failures.clone());
        machine
    }

    /// A monitor's folder, with its name.
    fn monitor(&mut self, driver: &str) -> String {
        let folder = format!("sys/class/hwmon/hwmon{}", self.monitors);
        self.monitors += 1;
        self.tree.file(&format!("{folder}/name"), driver);
        folder
    }

    /// What a row must say. Of two rows with one id, the second has a number behind it.
    fn tell(&mut self, id: &str, value: Option<f64>) {
        let mut free = id.to_owned();
        let mut repeat = 2;
        while self.truth.contains_key(&free) {
            free = format!("{id}#{repeat}");
            repeat += 1;
        }
        self.truth.insert(free, value);
    }

    /// A file with a number, which fails at times. Whether it can be read.
    fn number(&mut self, path: &str, number: i64) -> bool {
        let errno = if self.random.one_in(10) { self.random.pick(&[5, 6, 11, 19, 22, 61, 95]) } else { 0 };
        self.tree.file(path, &format!("{number}\n"));
        if errno != 0 {
            self.failures.push_str(&format!("read {errno} {path}\n"));
        }
        errno == 0
    }

    /// Millidegrees of a sensor that works, in `warm` degrees unless the machine is cold.
    fn degrees(&mut self, warm: (i64, i64)) -> i64 {
        let (low, high) = if self.is_cold { (2, 6) } else { warm };
        self.random.between(low, high) * 1000 + 125 * self.random.between(0, 7)
    }

    /// A temperature in m°C: a true one, or now and then one of those that mean that nothing is there.
    fn temperature(&mut self, path: &str, warm: (i64, i64), nothing: &[i64]) -> Option<f64> {
        let is_open = self.random.one_in(4);
        let number = if is_open { self.random.pick(nothing) } else { self.degrees(warm) };
        let is_read = self.number(path, number);
        (is_read && !is_open).then_some(number as f64 / 1e3)
    }

    fn processor(&mut self) {
        let folder = self.monitor("coretemp");
        for core in 1..=self.random.between(1, 6) {
            self.tree.file(&format!("{folder}/temp{core}_label"), &format!("Core {core}"));
            let path = format!("{folder}/temp{core}_input");
            let celsius = self.temperature(&path, (45, 70), &[0, -128_000, 127_000, 128_000]);
            self.tell(&format!("temp.coretemp_Core_{core}"), celsius);
        }
    }

    fn board_chip(&mut self) {
        let driver = self.random.pick(&["nct6798", "asusec", "it8728"]);
        let folder = self.monitor(driver);
        for input in 1..=self.random.between(1, 6) {
            let path = format!("{folder}/temp{input}_input");
            let celsius = self.temperature(&path, (20, 60), &[0, -40_000, -55_000, -128_000, 127_000]);
            self.tell(&format!("temp.{driver}_temp{input}"), celsius);
        }
    }

    fn thinkpad(&mut self) {
        let folder = self.monitor("thinkpad");
        for input in 1..=self.random.between(1, 8) {
            let path = format!("{folder}/temp{input}_input");
            let celsius = self.temperature(&path, (30, 80), &[0, -128_000]);
            self.tell(&format!("temp.thinkpad_temp{input}"), celsius);
        }
    }

    fn zones(&mut self) {
        for _ in 0..self.random.between(1, 5) {
            let kind =
                self.random.pick(&["cpu-thermal", "mtktspmic", "quiet-thermal", "battery", "soc_zone"]);
            let folder = format!("sys/class/thermal/thermal_zone{}", self.zones);
            self.zones += 1;
            self.tree.file(&format!("{folder}/type"), kind);
            let path = format!("{folder}/temp");
            let celsius = self.temperature(&path, (45, 70), &[0, 125_000, -40_000]);
            self.tell(&format!("temp.{kind}"), celsius);
        }
    }

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

    fn sockets(&mut self) {
        let driver = self.random.pick(&["amd_hsmp_hwmon", "fam15h_power"]);
        let mut sum = Some(0.0);
        for _ in 0..self.random.between(1, 2) {
            let folder = self.monitor(driver);
            let watts = self.watts(&format!("{folder}/power1_input"), (4, 400));
            sum = sum.zip(watts).map(|(sum, watts)| sum + watts);
            self.tell(&format!("power.{driver}_power1"), watts);
        }
        self.packages = sum;
    }

    fn power9(&mut self) {
        let folder = self.monitor("ibmpowernv");
        self.tree.file(&format!("{folder}/power1_label"), "System");
        let watts = self.watts(&format!("{folder}/power1_input"), (100, 900));
        self.totals.extend(watts);
        self.tell("power.ibmpowernv_System", watts);
        self.tree.file(&format!("{folder}/temp1_label"), "Chip 0 DIMM 0");
        let celsius = self.temperature(&format!("{folder}/temp1_input"), (20, 50), &[0]);
        self.tell("temp.ibmpowernv_Chip_0_DIMM_0", celsius);
    }

    /// Monitors in leads that nothing names: none of them is the board.
    fn extensions(&mut self) {
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
            self.tell("power.rail.ina219", is_read.then_some(watts));
        }
    }

    fn labelled_rails(&mut self) {
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
                self.tell(&format!("power.rail.{label}"), watts);
            }
            if label == "VDD_IN" {
                self.totals.extend(watts);
            }
        }
    }

    fn batteries(&mut self) {
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
            let told = is_read.then_some(watts);
            sum = sum.zip(told.filter(|watts| *watts > 0.0)).map(|(sum, watts)| sum + watts);
            self.tell(&format!("power.battery.BAT{pack}"), told);
        }
        let sum = sum.filter(|_| !is_plugged);
        self.tell("power.battery", sum);
        self.totals.extend(sum);
    }

    fn cards(&mut self) {
        for card in 0..self.random.between(1, 3) {
            let device = format!("sys/class/drm/card{card}/device");
            self.tree.file(&format!("{device}/mem_info_vram_used"), "4096");
            self.tree.file(&format!("{device}/hwmon/hwmon9{card}/name"), "amdgpu");
            self.tell(&format!("gpu{card}.vram_used"), Some(4096.0));
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
            self.tell(&format!("gpu{card}.power"), watts);
        }
    }

    /// An accelerator card that its driver shows twice.
    fn accelerator(&mut self) {
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
        self.tell("power.wormhole_power1", watts);
    }

    fn meter(&mut self) {
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
        self.tell("power.power_meter_power1", watts);
    }

    /// How many numbers the report has, and whether the board's total is one of them.
    fn check(self) -> (u64, bool) {
        let report = self.tree.doctor();
        let seed = self.seed;
        let mut sums = self.totals.clone();
        sums.extend(self.packages.map(|packages| packages + self.cards.iter().sum::<f64>()));
        let mut total = false;
        let mut numbers = 0;
        for row in &report.channels {
            let is_number = row.value.is_some();
            numbers += u64::from(is_number);
            if row.id == "power.board" {
                total = is_number;
                let is_true = row.value.is_none_or(|value| sums.iter().any(|sum| (sum - value).abs() < 1e-6));
                assert!(
                    is_true,
                    "machine {seed}: the board draws {:?}, not one of {sums:?}: {row:?}",
                    row.value
                );
                continue;
            }
            // The profiler's own rows and those of the kernel are not drawn.
            let is_drawn = matches!(row.quantity, Quantity::Power | Quantity::Temperature | Quantity::Gpu);
            match self.truth.get(&row.id) {
                Some(Some(truth)) => {
                    let same = row.value.is_some_and(|value| (value - truth).abs() < 1e-6);
                    assert!(same, "machine {seed}: {} is {truth}: {row:?}", row.id);
                }
                Some(None) => assert!(!is_number, "machine {seed}: {} tells nothing: {row:?}", row.id),
                None => assert!(!is_number || !is_drawn, "machine {seed}: nobody drew {row:?}"),
            }
        }
        for id in self.truth.keys() {
            assert!(report.channels.iter().any(|row| row.id == *id), "machine {seed}: no row {id}");
        }
        (numbers, total)
    }
}
