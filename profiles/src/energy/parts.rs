//! Which channels of one scope add up to it, each thing once.
//!
//! A machine may report one thing twice: a package by the processor's counters and by a driver, a card by its energy
//! and by its power. What adds up are channels of one kind, whose names differ in numbers
//! alone: `energy.package-0` and `energy.package-1`, but not `energy.amd_energy_Esocket0`.

use crate::channel::{Channel, Unit};

/// Channels of one scope, those of one kind together. Kinds are not to be added. The best comes first: counters
/// before gauges, and the processor's own, which are named after the scope, before those of other drivers.
pub fn kinds<'c>(channels: impl IntoIterator<Item = &'c Channel>) -> Vec<Vec<&'c Channel>> {
    let mut kinds: Vec<Vec<&Channel>> = Vec::new();
    for channel in channels {
        let is_like = |first: &&Channel| first.unit == channel.unit && stem(&first.id) == stem(&channel.id);
        match kinds.iter_mut().find(|kind| kind.first().is_some_and(is_like)) {
            Some(kind) => kind.push(channel),
            None => kinds.push(vec![channel]),
        }
    }
    kinds.sort_by_key(|kind| {
        kind.first().map(|first| {
            (first.unit != Unit::Joules, !first.id.starts_with(&format!("energy.{}", first.scope)))
        })
    });
    kinds
}

/// One channel of each graphics processor: its counter, else its gauge. They add up.
pub fn cards<'c>(channels: impl IntoIterator<Item = &'c Channel>) -> Vec<&'c Channel> {
    let mut found: Vec<&Channel> = channels.into_iter().collect();
    found.sort_by_key(|channel| (card(&channel.id), channel.unit != Unit::Joules));
    found.dedup_by_key(|channel| card(&channel.id));
    found
}

/// The name without numbers, and without what separates them from it.
fn stem(id: &str) -> &str {
    let end = id.find(|letter: char| letter.is_ascii_digit() || letter == '#').unwrap_or(id.len());
    id.get(..end).unwrap_or(id).trim_end_matches(['-', '_'])
}

/// The card's part of `gpu0.power` or, where the card itself is not shown, of `energy.xe`.
fn card(id: &str) -> &str {
    match id.split_once('.') {
        Some(("energy" | "power", card) | (card, _)) => card,
        None => id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Scope;
    use crate::energy::choice::tests::channel;

    fn ids(channels: &[&Channel]) -> Vec<String> {
        channels.iter().map(|channel| channel.id.clone()).collect()
    }

    #[test]
    fn names_that_differ_in_numbers_are_of_one_kind_and_the_processor_s_own_come_first() {
        let package = |id: &str, unit| channel(0, id, Scope::Package, unit);
        let channels = [
            package("power.power_meter_Grace_Power_Socket_0", Unit::Watts),
            package("energy.amd_energy_Esocket0", Unit::Joules),
            package("energy.package-0-die-0", Unit::Joules),
            package("power.power_meter_Grace_Power_Socket_1", Unit::Watts),
            package("energy.package-1", Unit::Joules),
            package("energy.amd_energy_Esocket0#2", Unit::Joules),
        ];
        let kinds: Vec<Vec<String>> = kinds(&channels).iter().map(|kind| ids(kind)).collect();
        let meter = |socket: u32| format!("power.power_meter_Grace_Power_Socket_{socket}");
        assert_eq!(
            kinds,
            [
                vec!["energy.package-0-die-0".to_owned(), "energy.package-1".to_owned()],
                vec!["energy.amd_energy_Esocket0".to_owned(), "energy.amd_energy_Esocket0#2".to_owned()],
                vec![meter(0), meter(1)],
            ]
        );
    }

    #[test]
    fn a_card_with_counter_and_gauge_counts_once() {
        let gpu = |id: &str, unit| channel(0, id, Scope::Gpu, unit);
        let channels = [
            gpu("gpu1.power", Unit::Watts),
            gpu("gpu0.power", Unit::Watts),
            gpu("energy.uncore-0", Unit::Joules),
            gpu("gpu0.energy", Unit::Joules),
        ];
        assert_eq!(ids(&cards(&channels)), ["gpu0.energy", "gpu1.power", "energy.uncore-0"]);
    }
}
