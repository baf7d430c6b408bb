//! Whether a battery is charged or discharged, and whether the batteries alone feed the machine.

use slmscope_profiles::channel::{ReasonCode, Value};

use super::feeds::Plugged;

/// The least plausible power, W: a running machine draws more, and a charger supplies more. Less means that a driver
/// reports mA instead of µA.
const LEAST_DRAW: f64 = 0.05;

/// No pack of a machine with a battery supplies more, W.
const MAX_DRAW: f64 = 1000.0;

/// The magnitude with the sign of the direction, W, or the reason why it is implausible. `is_lone` is the only pack
/// of the machine.
pub(super) fn judge(watts: f64, status: &[u8], plugged: Plugged, is_lone: bool) -> Result<f64, ReasonCode> {
    let magnitude = watts.abs();
    let by_supply = match plugged {
        Plugged::Yes => Some(false),
        Plugged::No => Some(true),
        Plugged::Contradicted | Plugged::Unknown => None,
    };
    let discharging = match status {
        b"Discharging" => Some(true),
        b"Charging" => Some(false),
        // Nothing can charge it: the status lags behind, or is the controller's word for "above its threshold".
        b"Full" | b"Not charging" => Some(plugged == Plugged::No),
        // Many controllers report "Unknown" near the ends, and for a pack that rests.
        _ if watts < 0.0 => Some(true),
        _ => by_supply,
    };
    // Of several packs some rest, whatever they report, but something feeds a machine that runs.
    if magnitude == 0.0 && !(is_lone && status == b"Discharging") {
        return Ok(0.0);
    }
    // A full one takes almost nothing from the mains, and many controllers then report "Unknown".
    let may_trickle = match status {
        b"Discharging" | b"Charging" => false,
        b"Full" | b"Not charging" => plugged != Plugged::No,
        _ => plugged == Plugged::Yes,
    };
    if magnitude < LEAST_DRAW && !may_trickle || magnitude > MAX_DRAW {
        return Err(ReasonCode::Implausible);
    }
    match discharging {
        Some(true) => Ok(magnitude),
        Some(false) => Ok(-magnitude),
        // The driver does not report the direction.
        None => Err(ReasonCode::NotSupported),
    }
}

/// The sum of packs, if they alone feed the machine: none is charged, and nothing is plugged in.
pub(super) fn sum(draws: impl IntoIterator<Item = Value>, plugged: Plugged) -> Value {
    let mut sum = 0.0;
    for draw in draws {
        match draw {
            Value::Present(watts) if watts >= 0.0 => sum += watts,
            Value::Present(_) => return Value::Absent(ReasonCode::Vanished),
            // A pack that went away is not one that rests.
            Value::Absent(ReasonCode::Vanished) => return Value::Absent(ReasonCode::NoSuchInterface),
            Value::Absent(_) => return draw,
        }
    }
    let alone = plugged != Plugged::Yes;
    if sum > 0.0 && alone { Value::Present(sum) } else { Value::Absent(ReasonCode::Vanished) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_decides_the_direction() {
        assert_eq!(judge(9.5, b"Discharging", Plugged::Yes, true), Ok(9.5));
        assert_eq!(judge(9.5, b"Charging", Plugged::Unknown, true), Ok(-9.5));
        assert_eq!(judge(9.5, b"Unknown", Plugged::No, true), Ok(9.5));
        assert_eq!(judge(9.5, b"Unknown", Plugged::Yes, true), Ok(-9.5));
        assert_eq!(judge(0.0, b"Unknown", Plugged::Yes, true), Ok(0.0));
    }

    #[test]
    fn a_battery_that_nothing_can_charge_is_never_charged() {
        for status in [&b"Full"[..], b"Not charging"] {
            assert_eq!(judge(11.2, status, Plugged::No, true), Ok(11.2));
            assert_eq!(judge(11.2, status, Plugged::Yes, true), Ok(-11.2));
        }
    }

    #[test]
    fn a_negative_current_is_drawn_from_the_battery() {
        assert_eq!(judge(-9.0, b"Unknown", Plugged::Yes, true), Ok(9.0));
        assert_eq!(judge(-9.0, b"", Plugged::Unknown, true), Ok(9.0));
        assert_eq!(judge(-9.0, b"Charging", Plugged::Yes, true), Ok(-9.0), "the status comes first");
    }

    #[test]
    fn without_status_and_mains_the_direction_is_not_known() {
        for status in [&b"Unknown"[..], b""] {
            assert_eq!(judge(9.0, status, Plugged::Unknown, true), Err(ReasonCode::NotSupported));
            assert_eq!(judge(0.0, status, Plugged::Unknown, false), Ok(0.0), "a pack that rests");
        }
    }

    #[test]
    fn milliamperes_in_place_of_microamperes_are_refused() {
        for status in [&b"Discharging"[..], b"Charging", b"Unknown", b""] {
            for plugged in [Plugged::No, Plugged::Unknown] {
                assert_eq!(judge(0.0106, status, plugged, true), Err(ReasonCode::Implausible));
            }
        }
        assert_eq!(judge(0.0106, b"Charging", Plugged::Yes, true), Err(ReasonCode::Implausible));
        assert_eq!(judge(0.0106, b"Unknown", Plugged::Yes, true), Ok(-0.0106), "a trickle");
        assert_eq!(judge(0.0106, b"Full", Plugged::Yes, true), Ok(-0.0106), "a trickle");
        assert_eq!(judge(4_290_000.0, b"Charging", Plugged::Unknown, true), Err(ReasonCode::Implausible));
    }

    #[test]
    fn a_pack_rests_only_beside_another() {
        assert_eq!(judge(0.0, b"Discharging", Plugged::No, false), Ok(0.0));
        assert_eq!(judge(0.0, b"Discharging", Plugged::No, true), Err(ReasonCode::Implausible));
    }
}
