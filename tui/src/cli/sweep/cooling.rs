//! The cooling gate: a run begins when the machine is cool enough, or when it has taken too long to cool down.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use slmscope_profiles::campaign::Schedule;
use slmscope_profiles::channel::{Class, Quantity, Unit};
use slmscope_profiles::display;
use slmscope_profiles::doctor::{DoctorReport, DoctorRow};
use slmscope_profiles::wire::Method;

use super::is_up;
use crate::client::Connection;
use crate::failure::Failure;

/// Time between two looks at the sensors. A heat sink takes minutes.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How soon a signal ends the wait.
const SLICE: Duration = Duration::from_millis(100);

/// How a run began.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Start {
    /// The hottest sensor of what computes, °C; `None` where that was not asked for.
    pub(super) celsius: Option<f64>,
    /// It did not cool down in time.
    pub(super) note: Option<String>,
}

/// What a look at the sensors leads to.
#[derive(Debug, Clone, PartialEq)]
enum Next {
    Wait,
    Begin(Start),
}

/// Waits until a run may begin.
///
/// # Errors
/// If no sensor says how warm the machine is, the daemon is gone, or a signal comes.
pub(super) fn wait(
    schedule: &Schedule,
    is_first: bool,
    connection: &mut Connection,
    interrupted: &AtomicBool,
) -> Result<Start, Failure> {
    if !is_first {
        sleep(Duration::from_secs(schedule.pause.into()), interrupted)?;
    }
    let Some(below) = schedule.cool_below else { return Ok(Start::default()) };
    let began = Instant::now();
    let mut is_said = false;
    loop {
        let answer = connection.call(Method::Doctor {}, &[])??;
        let report: DoctorReport = serde_json::from_value(answer)
            .map_err(|error| Failure::error(format!("the daemon's report cannot be read: {error}")))?;
        let celsius = hottest(&report.channels).ok_or_else(no_sensor)?;
        match next(below, schedule.cool_limit, celsius, began.elapsed()) {
            Next::Begin(start) => return Ok(start),
            Next::Wait if !is_said => {
                let degrees = |celsius| display::value(celsius, Unit::Celsius);
                note_line!("slmscope: cooling down from {} to {}", degrees(celsius), degrees(below));
                is_said = true;
            }
            Next::Wait => {}
        }
        sleep(LOOK_EVERY, interrupted)?;
    }
}

fn no_sensor() -> Failure {
    Failure::error(
        "--cool-below: this machine has no temperature of what computes: see `slmscope doctor temp`; wait a fixed time \
         with --pause",
    )
}

fn next(below: f64, limit_s: u32, celsius: f64, waited: Duration) -> Next {
    if celsius < below {
        return Next::Begin(Start { celsius: Some(celsius), note: None });
    }
    if waited < Duration::from_secs(limit_s.into()) {
        return Next::Wait;
    }
    let degrees = |celsius| display::value(celsius, Unit::Celsius);
    let note = format!("began at {}: not below {} within {limit_s} s", degrees(celsius), degrees(below));
    Next::Begin(Start { celsius: Some(celsius), note: Some(note) })
}

/// The hottest sensor of what computes; without one, the hottest that the firmware reports.
fn hottest(rows: &[DoctorRow]) -> Option<f64> {
    let of = |is_wanted: &dyn Fn(&DoctorRow) -> bool| {
        let readings = rows.iter().filter(|row| row.quantity == Quantity::Temperature && is_wanted(row));
        readings.filter_map(|row| row.value).max_by(f64::total_cmp)
    };
    of(&|row| row.scope.computes()).or_else(|| of(&|row| row.class == Class::Reported))
}

/// Waits, unless a signal comes.
fn sleep(time: Duration, interrupted: &AtomicBool) -> Result<(), Failure> {
    let until = Instant::now() + time;
    loop {
        if is_up(interrupted) {
            return Err(Failure::silent(130));
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(SLICE));
    }
}

#[cfg(test)]
mod tests {
    use slmscope_profiles::channel::Scope;

    use super::*;

    #[test]
    fn a_run_begins_when_it_is_cool_or_when_it_has_waited_long_enough() {
        let cool = Next::Begin(Start { celsius: Some(54.9), note: None });
        assert_eq!(next(55.0, 600, 54.9, Duration::ZERO), cool);
        assert_eq!(next(55.0, 600, 55.0, Duration::from_secs(599)), Next::Wait);
        let Next::Begin(start) = next(55.0, 600, 71.0, Duration::from_mins(10)) else {
            panic!("it waits on")
        };
        assert_eq!(start.celsius, Some(71.0));
        assert_eq!(start.note.as_deref(), Some("began at 71.0 °C: not below 55.0 °C within 600 s"));
    }

    #[test]
    fn the_hottest_sensor_of_what_computes_counts() {
        let row = |scope: Scope, class, value| DoctorRow {
            id: String::new(),
            quantity: Quantity::Temperature,
            unit: Unit::Celsius,
            scope,
            class,
            source: String::new(),
            period_ns: None,
            update_ns: None,
            cost_ns: None,
            age_ns: None,
            value,
            reason: None,
            remedy: None,
        };
        let drive = row(Scope::Machine, Class::Measured, Some(99.0));
        let package = row(Scope::Package, Class::Measured, Some(60.0));
        let core = row(Scope::Cores, Class::Measured, Some(64.0));
        let firmware = row(Scope::Machine, Class::Reported, Some(70.0));
        assert_eq!(hottest(&[drive.clone(), package, core, firmware.clone()]), Some(64.0));
        assert_eq!(hottest(&[drive.clone(), firmware]), Some(70.0));
        assert_eq!(hottest(&[drive, row(Scope::Package, Class::Measured, None)]), None);
    }

    #[test]
    fn a_signal_ends_a_wait() {
        let interrupted = AtomicBool::new(true);
        assert!(sleep(Duration::from_hours(1), &interrupted).is_err());
        assert!(sleep(Duration::ZERO, &AtomicBool::new(false)).is_ok());
    }
}
