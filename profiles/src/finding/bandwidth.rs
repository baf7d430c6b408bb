//! Memory traffic against what the machine can move.

use super::format::is_smallest;
use super::{FindingCode, Found, Use};
use crate::bandwidth::PhaseBandwidth;
use crate::channel::Class;
use crate::display;
use crate::lane::HOST_LANE;
use crate::phase::Phase;
use crate::result::RunResult;

/// Share of a roof from which on it binds: reading the bytes, or the arithmetic, then takes more of the time than all else
/// together (Williams, Waterman and Patterson, "Roofline", CACM 52(4), 2009).
pub(super) const BOUND_SHARE: f64 = 0.5;

/// Measured divided by derived traffic, above which the difference is reported.
const EXTRA_SHARE: f64 = 1.3;

/// The traffic of a phase; `None` if ops of other lanes may use memory of a device, which neither the roofs nor the
/// controllers know.
fn traffic(result: &RunResult, phase: Phase) -> Option<&PhaseBandwidth> {
    let is_elsewhere = result.ops.iter().any(|op| op.phase == phase && op.lane != HOST_LANE);
    result.bandwidth.iter().find(|traffic| traffic.phase == phase && !is_elsewhere)
}

/// Bandwidth-bound decode: the bytes of a step divided by its wall time are at least half of what can be read, also of
/// the fastest sample of the roof. Silent if they are more than that: then they come from a cache.
pub(super) fn decode_bound(result: &RunResult) -> Option<Found> {
    let derived = traffic(result, Phase::Decode)?.derived_wall_bytes_per_s?;
    let roof = result.roofs.read_bytes_per_s.filter(|roof| roof.median > 0.0)?;
    let share = derived / roof.high;
    if !(BOUND_SHARE..=1.0).contains(&share) {
        return None;
    }
    let is_small = result.model.format.is_some_and(is_smallest);
    let less = if is_small { "a smaller model or a shorter context" } else { "a smaller weight format" };
    Some(
        Found::new(FindingCode::BandwidthBound, Use::Explanation, share)
            .reason(format!(
                "decode moves {} of {} that can be read",
                display::bytes_per_second(derived),
                display::bytes_per_second(roof.median)
            ))
            .figure("bytes of decode divided by its wall time", derived, "B/s")
            .figure("read roof, median", roof.median, "B/s")
            .figure("read roof, fastest sample", roof.high, "B/s")
            .advice(format!("Fewer bytes per token make it faster, more arithmetic does not: {less}.")),
    )
}

/// Extra traffic: the memory controllers counted 1.3 times as many bytes as the model accounts for, or more. Proxies
/// such as cache misses are not compared.
pub(super) fn extra_traffic(result: &RunResult, phase: Phase) -> Option<Found> {
    let traffic = traffic(result, phase)?;
    let derived = traffic.derived_wall_bytes_per_s?;
    let measured = traffic.measured_bytes_per_s.filter(|_| traffic.class <= Class::Derived)?;
    if measured <= EXTRA_SHARE * derived {
        return None;
    }
    Some(
        Found::new(FindingCode::ExtraTraffic, Use::Explanation, 1.0 - derived / measured)
            .reason(format!(
                "{} went through memory in {}, the model accounts for {}",
                display::bytes_per_second(measured),
                phase.as_str(),
                display::bytes_per_second(derived)
            ))
            .figure("measured", measured, "B/s")
            .figure("derived", derived, "B/s")
            .advice("Others use memory too, or caches are missed more than they must; see foreign load."),
    )
}
