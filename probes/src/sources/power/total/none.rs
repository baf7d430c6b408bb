//! Why there is no figure for the board.

use slmscope_profiles::channel::{
    BATTERY_POWER, Channel, ChannelId, Quantity, Reason, ReasonCode, Scope, Unit,
};

use crate::facts::supplies;

/// Why there is no figure for the board, and the channel that would be it if it could be read.
pub(super) fn why_none(channels: &[Channel]) -> (Option<ChannelId>, Reason) {
    let power = |channel: &&Channel| matches!(channel.quantity, Quantity::Energy | Quantity::Power);
    let locked = channels
        .iter()
        .filter(power)
        .find(|channel| channel.reason.as_ref().is_some_and(|reason| reason.code == ReasonCode::Permission));
    if let Some(channel) = locked {
        let detail = format!("{} would report it, but this user may not read it", channel.id);
        return (Some(channel.channel), Reason::new(ReasonCode::Permission, detail));
    }
    let is_pack = |channel: &&Channel| {
        channel.unit == Unit::Watts && channel.id != BATTERY_POWER && channel.is_of_batteries()
    };
    let batteries = || channels.iter().filter(is_pack);
    let reporting = batteries().filter(|battery| battery.reason.is_none()).count();
    let mut detail = "no sensor of what the machine draws".to_owned();
    if let Some(monitor) = channels.iter().find(|channel| is_extension(channel)) {
        let lead = match monitor.scope {
            Scope::Battery => "sits in a battery's lead",
            _ => "is on a rail that nothing names",
        };
        detail.push_str(&format!("; the monitor of {} {lead}", monitor.id));
    }
    if reporting > 0 && reporting < batteries().count() {
        detail.push_str(", and not all of its batteries report their power");
    } else if reporting > 0 {
        detail.push_str("; its battery reports it while it discharges");
    }
    (None, Reason::new(ReasonCode::NoSuchInterface, detail))
}

/// Whether this is a current monitor whose place is not known: its rail has no name but the chip's, or it is a battery's.
fn is_extension(channel: &Channel) -> bool {
    let Some(name) = channel.id.strip_prefix("power.rail.") else { return false };
    let chip = name.split('#').next().unwrap_or(name);
    supplies::is_monitor(chip)
        && match &channel.scope {
            Scope::Battery => true,
            Scope::Rail(rail) => rail == name,
            _ => false,
        }
}
