//! Energy by class of op: watts of each class, by regression over windows of a run.
//!
//! A sensor sees the whole machine. Between two of its updates lies a window in which classes of ops (matmul, attention,
//! norm, and what is no op) took different shares of the time. If energy is the sum of each class's time multiplied by its
//! power, the powers follow from many windows by least squares:
//!
//! ```text
//! joules of a window  ≈  Σ over classes:  watts of the class · its seconds in the window
//! ```
//!
//! That only works where the mix of classes changes from window to window. Where it does not, as in a long decode at one
//! depth, any split fits as well as any other, and there is no figure: the reason says which classes cannot be told apart.

use serde::Serialize;

use crate::display;
use crate::least_squares::{MAX_CONDITION, NoFit, fit};

/// Windows for each class that are needed at least.
pub const WINDOWS_PER_CLASS: usize = 5;

/// Level of the intervals.
const LEVEL: f64 = 0.95;

/// What a sensor counted between two of its updates, and what ran meanwhile.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassWindow {
    /// Energy, J.
    pub joules: f64,
    /// Time in each class, s, in the order of the classes.
    pub seconds: Vec<f64>,
}

/// A class and its power.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassPower {
    /// The class.
    pub class: String,
    /// Its power, W.
    pub watts: f64,
    /// Lower end of the 95 % interval, W.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Its energy in all windows together, J.
    pub joules: f64,
}

/// Why the classes have no power of their own.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NoClassPower {
    /// The sensor was not updated often enough.
    #[error("the sensor gave {windows} new values, and {needed} are needed for {classes} classes")]
    FewWindows {
        /// New values.
        windows: usize,
        /// Needed.
        needed: usize,
        /// Classes.
        classes: usize,
    },
    /// Every window has the same mix.
    #[error("the load is constant: every window has the same mix of classes, and nothing tells them apart")]
    Constant,
    /// Two classes go together.
    #[error("{a} and {b} take time together (correlation {}): nothing tells them apart", display::significant(*.correlation))]
    Collinear {
        /// A class.
        a: String,
        /// Another one.
        b: String,
        /// Of their shares of the windows.
        correlation: f64,
    },
}

/// Shares of classes that vary by less than this from window to window are constant (standard deviation of the share).
const CONSTANT: f64 = 0.002;

/// The power of each class.
///
/// # Errors
/// If the windows do not tell the classes apart.
pub fn class_powers(classes: &[String], windows: &[ClassWindow]) -> Result<Vec<ClassPower>, NoClassPower> {
    let needed = WINDOWS_PER_CLASS * classes.len();
    if windows.len() < needed || classes.is_empty() {
        return Err(NoClassPower::FewWindows { windows: windows.len(), needed, classes: classes.len() });
    }
    let rows: Vec<Vec<f64>> = windows.iter().map(|window| window.seconds.clone()).collect();
    let joules: Vec<f64> = windows.iter().map(|window| window.joules).collect();
    if classes.len() > 1 && is_constant(&rows) {
        return Err(NoClassPower::Constant);
    }
    let found = match fit(&rows, &joules) {
        Ok(found) if found.condition < MAX_CONDITION => found,
        Err(NoFit::FewRows { rows, columns }) => {
            return Err(NoClassPower::FewWindows { windows: rows, needed, classes: columns });
        }
        Ok(_) | Err(NoFit::Dependent) => return Err(collinear(classes, &rows)),
    };
    let power = |(at, class): (usize, &String)| {
        let (watts, half) = (found.coefficients[at], found.half_width(at, LEVEL));
        let seconds: f64 = rows.iter().map(|row| row[at]).sum();
        ClassPower {
            class: class.clone(),
            watts,
            low: watts - half,
            high: watts + half,
            joules: watts * seconds,
        }
    };
    Ok(classes.iter().enumerate().map(power).collect())
}

/// The shares of the classes in each window.
fn shares(rows: &[Vec<f64>], class: usize) -> Vec<f64> {
    let share = |row: &Vec<f64>| {
        let sum: f64 = row.iter().sum();
        if sum > 0.0 { row[class] / sum } else { 0.0 }
    };
    rows.iter().map(share).collect()
}

fn is_constant(rows: &[Vec<f64>]) -> bool {
    let classes = rows.first().map_or(0, Vec::len);
    (0..classes).all(|class| deviation(&shares(rows, class)) < CONSTANT)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len().max(1) as f64).sqrt()
}

/// The two classes whose times go together most.
fn collinear(classes: &[String], rows: &[Vec<f64>]) -> NoClassPower {
    let column = |at: usize| rows.iter().map(|row| row[at]).collect::<Vec<f64>>();
    // Of the times themselves, around 0: two columns that are the same but for a factor have 1.
    let together = |a: &[f64], b: &[f64]| {
        let product: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
        let size = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>().sqrt();
        let sizes = size(a) * size(b);
        if sizes > 0.0 { product / sizes } else { 1.0 }
    };
    let pairs = (0..classes.len()).flat_map(|a| (a + 1..classes.len()).map(move |b| (a, b)));
    let found =
        pairs.map(|(a, b)| (together(&column(a), &column(b)), a, b)).max_by(|x, y| x.0.total_cmp(&y.0));
    match found {
        Some((correlation, a, b)) => {
            NoClassPower::Collinear { a: classes[a].clone(), b: classes[b].clone(), correlation }
        }
        None => NoClassPower::Constant,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::SplitMix;

    const WATTS: [f64; 3] = [18.0, 11.0, 5.0];

    fn names() -> Vec<String> {
        ["matmul", "attention", "no op"].map(str::to_owned).to_vec()
    }

    /// A number from 0 to 1.
    fn uniform(random: &mut SplitMix) -> f64 {
        (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A sum of twelve is as good as a Gaussian here.
    fn noise(random: &mut SplitMix) -> f64 {
        (0..12).map(|_| uniform(random)).sum::<f64>() - 6.0
    }

    /// Windows of about 0.1 s whose mix of classes `mix` gives; the sensor errs by 20 mJ.
    fn windows(random: &mut SplitMix, count: usize, mix: fn(&mut SplitMix) -> [f64; 3]) -> Vec<ClassWindow> {
        let window = |_| {
            let shares = mix(random);
            let length = 0.08 + 0.04 * uniform(random);
            let seconds = shares.map(|share| share * length / shares.iter().sum::<f64>());
            let joules = seconds.iter().zip(WATTS).map(|(seconds, watts)| seconds * watts).sum::<f64>();
            ClassWindow { joules: joules + 0.02 * noise(random), seconds: seconds.to_vec() }
        };
        (0..count).map(window).collect()
    }

    #[test]
    fn the_true_watts_lie_in_the_interval_in_at_least_90_of_100_trials() {
        let mut random = SplitMix(11);
        let mut inside = [0; 3];
        for _ in 0..100 {
            let windows = windows(&mut random, 60, |random| {
                [0.3 + uniform(random), uniform(random), 0.3 * uniform(random)]
            });
            let found = class_powers(&names(), &windows).unwrap();
            for (at, power) in found.iter().enumerate() {
                inside[at] += u32::from((power.low..=power.high).contains(&WATTS[at]));
                assert!((power.watts - WATTS[at]).abs() < 8.0, "{power:?}");
            }
        }
        assert!(inside.iter().all(|&count| count >= 90), "{inside:?}");
    }

    #[test]
    fn the_energy_of_the_classes_adds_up_to_that_of_the_windows() {
        let windows =
            windows(&mut SplitMix(3), 60, |random| [uniform(random), uniform(random), uniform(random)]);
        let found = class_powers(&names(), &windows).unwrap();
        let (parts, whole): (f64, f64) =
            (found.iter().map(|class| class.joules).sum(), windows.iter().map(|window| window.joules).sum());
        assert!((parts / whole - 1.0).abs() < 0.01, "{parts} of {whole}");
    }

    #[test]
    fn a_constant_load_and_classes_that_go_together_are_refused_with_the_reason() {
        let constant = windows(&mut SplitMix(5), 60, |_| [0.7, 0.2, 0.1]);
        assert_eq!(class_powers(&names(), &constant), Err(NoClassPower::Constant));
        let together = windows(&mut SplitMix(5), 60, |random| {
            let a = 0.2 + uniform(random);
            [a, 0.5 * a * (1.0 + 0.01 * uniform(random)), 0.4]
        });
        let told = class_powers(&names(), &together).unwrap_err().to_string();
        assert!(told.starts_with("matmul and attention take time together (correlation 1.00)"), "{told}");
        let few = windows(&mut SplitMix(5), 14, |random| [uniform(random), uniform(random), uniform(random)]);
        let told = class_powers(&names(), &few).unwrap_err().to_string();
        assert_eq!(told, "the sensor gave 14 new values, and 15 are needed for 3 classes");
    }
}
