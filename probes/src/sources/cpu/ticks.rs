//! The CPU lines of `/proc/stat`.
//!
//! Columns: user nice system idle iowait irq softirq steal guest guest_nice, in clock ticks since boot. Guest
//! time is contained in user, guest_nice in nice. Idle and iowait may fall; they are not used. CPUs that are
//! offline have no line, so lines are known by their number and not by their position.

/// Times of one line, in clock ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Ticks {
    /// Running anything: user, nice, system, irq, softirq.
    pub(crate) busy: u64,
    /// The part of `busy` that served interrupts: irq, softirq.
    pub(crate) interrupts: u64,
    /// Wanted to run, but the host ran something else.
    pub(crate) steal: u64,
    /// Whether every column is zero: no kernel counts here.
    pub(crate) blank: bool,
}

/// Yields `None` for the machine's line and the CPU's number for the others. A line that is cut off or
/// malformed is left out.
pub(crate) fn lines(stat: &[u8]) -> impl Iterator<Item = (Option<u32>, Ticks)> + '_ {
    // Without its line feed the last line may be cut in the middle of a number.
    stat.split_inclusive(|&byte| byte == b'\n').filter_map(|line| parse(line.strip_suffix(b"\n")?))
}

fn parse(line: &[u8]) -> Option<(Option<u32>, Ticks)> {
    let text = std::str::from_utf8(line).ok()?;
    let mut words = text.strip_prefix("cpu")?.split(' ');
    let cpu = match words.next()? {
        "" => None,
        number => Some(number.parse().ok()?),
    };
    let mut columns = [0_u64; 10];
    let mut count = 0;
    for (column, word) in columns.iter_mut().zip(words.filter(|word| !word.is_empty())) {
        *column = word.parse().ok()?;
        count += 1;
    }
    let [user, nice, system, _idle, _iowait, irq, softirq, steal, _guest, _guest_nice] = columns;
    let busy = [nice, system, irq, softirq].iter().try_fold(user, |sum, &part| sum.checked_add(part))?;
    let (interrupts, blank) = (irq.checked_add(softirq)?, columns.iter().all(|&column| column == 0));
    (count >= 4).then_some((cpu, Ticks { busy, interrupts, steal, blank }))
}

/// Clock ticks per second: the kernel's answer, and 100 for captured trees, as on every common platform.
pub(crate) fn per_second(live: bool) -> f64 {
    let live_rate = || Some(rustix::param::clock_ticks_per_second()).filter(|&rate| rate > 0);
    if live { live_rate().unwrap_or(100) as f64 } else { 100.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_time_is_not_counted_twice_and_iowait_is_not_work() {
        let stat = b"cpu  100 20 30 4000 500 6 7 80 90 15\ncpu3 1 2 3 4 5 6 7 8 9 10\nintr 5\n";
        let parsed: Vec<_> = lines(stat).collect();
        assert_eq!(parsed[0], (None, Ticks { busy: 163, interrupts: 13, steal: 80, blank: false }));
        assert_eq!(parsed[1], (Some(3), Ticks { busy: 19, interrupts: 13, steal: 8, blank: false }));
        assert_eq!(parsed.len(), 2);
    }

    #[test]
    fn a_line_that_is_cut_off_or_malformed_is_left_out() {
        assert_eq!(lines(b"cpu  1 2 3 4\ncpu0 1 2 3 44").count(), 1);
        assert_eq!(lines(b"cpu0 1 2 x 4\ncpux 1 2 3 4\ncpu1 1 2\n").count(), 0);
        assert_eq!(lines(b"cpu0 18446744073709551615 1 1 1 1\n").count(), 0);
        assert_eq!(lines(&[0xff; 64]).count(), 0);
    }

    #[test]
    fn noise_is_refused() {
        crate::tests::noise::against(b"cpu3 1 2 3 4 5 6 7 8 9 10\n", |text| {
            let _ = lines(text).count();
        });
    }
}
