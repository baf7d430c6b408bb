//! Machines at random, from what the rules are about: sensors that are there, absent, failing, parked, far from anything or
//! twice. The truth of each is known, and the report may hold no number that it does not.
//!
//! `SLMSCOPE_MACHINES` sets how many are drawn; with `TMPDIR=/dev/shm` ten thousand take some minutes.

mod power;

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
    /// Watts of all packages; `None` where one of them reports none.
    packages: Option<f64>,
    /// Watts of each card that reports them.
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
    fn expect(&mut self, id: &str, value: Option<f64>) {
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
            self.expect(&format!("temp.coretemp_Core_{core}"), celsius);
        }
    }

    fn board_chip(&mut self) {
        let driver = self.random.pick(&["nct6798", "asusec", "it8728"]);
        let folder = self.monitor(driver);
        for input in 1..=self.random.between(1, 6) {
            let path = format!("{folder}/temp{input}_input");
            let celsius = self.temperature(&path, (20, 60), &[0, -40_000, -55_000, -128_000, 127_000]);
            self.expect(&format!("temp.{driver}_temp{input}"), celsius);
        }
    }

    fn thinkpad(&mut self) {
        let folder = self.monitor("thinkpad");
        for input in 1..=self.random.between(1, 8) {
            let path = format!("{folder}/temp{input}_input");
            let celsius = self.temperature(&path, (30, 80), &[0, -128_000]);
            self.expect(&format!("temp.thinkpad_temp{input}"), celsius);
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
            self.expect(&format!("temp.{kind}"), celsius);
        }
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
                Some(None) => assert!(!is_number, "machine {seed}: {} has no value: {row:?}", row.id),
                None => assert!(!is_number || !is_drawn, "machine {seed}: nothing of it makes {row:?}"),
            }
        }
        for id in self.truth.keys() {
            assert!(report.channels.iter().any(|row| row.id == *id), "machine {seed}: no row {id}");
        }
        (numbers, total)
    }
}
