//! Sensors of the processor judge each other: one that is far colder than all others shows no temperature.
//!
//! Cold alone is no fault: a board that starts outside is cold in all of its sensors. On one die, two sensors differ by
//! some 30 K at most, and between the packages of a machine about as much more is possible while one rests. So a
//! sensor is refuted that is below [`COLD`] and at least [`MARGIN`] below the coldest of the others. Below that
//! temperature a package next to others that are that much warmer does not stay.

use std::sync::{PoisonError, RwLock};

use crate::machine::root::{Handle, Root};
use crate::sources::files::integer;

/// From here on a sensor is believed, °C.
const COLD: f64 = 15.0;

/// How far it must be below the coldest other one, K.
const MARGIN: f64 = 35.0;

/// Plausible temperatures of the others, °C; what is outside judges nothing.
const WARM: std::ops::RangeInclusive<f64> = 1.0..=125.0;

/// The sensors of the processor's package, in m°C. Those of cards are not among them: they may sleep.
#[derive(Default)]
pub(crate) struct Peers(RwLock<Vec<Handle>>);

impl Peers {
    /// Adds one.
    pub(crate) fn add(&self, root: &Root, path: &str) {
        if let Ok(handle) = root.open(path) {
            self.0.write().unwrap_or_else(PoisonError::into_inner).push(handle);
        }
    }

    /// Whether the others show that the sensor at `path` cannot have this temperature, °C. Reads them only if it is
    /// cold; a tick that finds it warm costs nothing.
    pub(crate) fn refute(&self, root: &Root, path: &str, celsius: f64) -> bool {
        if celsius >= COLD {
            return false;
        }
        let handles = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let read = |handle: &Handle| {
            let mut buffer = [0; 64];
            let text = crate::sources::files::read(root, handle, &mut buffer).ok()?;
            Some(integer(text)? as f64 / 1e3).filter(|celsius| WARM.contains(celsius))
        };
        let others = handles.iter().filter(|handle| handle.path() != path).filter_map(read);
        others.min_by(f64::total_cmp).is_some_and(|coldest| coldest - celsius >= MARGIN)
    }
}
