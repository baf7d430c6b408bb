//! In which order to run what is to be compared.

/// `rounds` runs of each of `things`, interleaved, so that a drift of the machine meets all of them alike: forward in
/// one round, backward in the next (ABBA for two), which cancels a steady drift every two rounds.
///
/// ```
/// use slmscope_profiles::compare::interleaved;
///
/// assert_eq!(interleaved(2, 3), [0, 1, 1, 0, 0, 1]);
/// ```
pub fn interleaved(things: usize, rounds: usize) -> Vec<usize> {
    let round =
        |round: usize| (0..things).map(move |at| if round.is_multiple_of(2) { at } else { things - 1 - at });
    (0..rounds).flat_map(round).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_drift_cancels_in_every_two_rounds() {
        for things in 1..5 {
            for rounds in [2, 4, 6] {
                let mut times = vec![0; things];
                for (at, thing) in interleaved(things, rounds).into_iter().enumerate() {
                    times[thing] += at;
                }
                assert!(times.iter().all(|time| *time == times[0]), "{things} things, {rounds} rounds");
            }
        }
        assert!(interleaved(0, 3).is_empty() && interleaved(3, 0).is_empty());
    }
}
