//! Energy is neither made nor lost by dividing the time: parts add up to their whole, whatever the readings say.

use slmscope_profiles::channel::{Channel, ReasonCode, Sample, Value};
use slmscope_profiles::energy::{NoTotal, Window, of_phases, total};
use slmscope_profiles::job::Span;
use slmscope_profiles::op::Phase;
use slmscope_profiles::stats::SplitMix;

use crate::sensor::{MS, SECOND, Sensor, Shows, Wave, spread};

/// When the readings begin and end.
const READ: (u64, u64) = (SECOND, 9 * SECOND);

/// A load and a sensor that nobody chose.
fn any(random: &mut SplitMix) -> (Wave, Sensor) {
    let low = spread(random, 0.5, 20.0);
    let half_ns = (spread(random, 0.001, 2.0) * 1e9) as u64;
    let high = low * spread(random, 1.0, 40.0);
    let wave = Wave { low, high, half_ns, offset_ns: random.below(2 * half_ns as usize) as u64 };
    let shows = match random.below(4) {
        // It wraps every few seconds, or never.
        0 => Shows::Energy { range: spread(random, 50.0, 500.0) },
        1 => Shows::Energy { range: 1e9 },
        2 => Shows::Power,
        _ => Shows::MeanPower,
    };
    let period_ns = (spread(random, 0.001, 0.5) * 1e9) as u64;
    let noise = if random.below(2) == 0 { 0.0 } else { 0.02 };
    (wave, Sensor { shows, period_ns, offset_ns: random.below(period_ns as usize) as u64, noise })
}

/// Readings of that sensor, some of which failed, told nonsense, or came twice.
fn readings(wave: &Wave, sensor: &Sensor, random: &mut SplitMix) -> Vec<Sample> {
    let every_ns = (spread(random, 0.002, 0.2) * 1e9) as u64;
    let mut samples = sensor.samples(wave, READ, (every_ns, every_ns / 20), random);
    let spoilt = random.below(3);
    for at in 0..samples.len() {
        if spoilt > 0 && random.below(40) == 0 {
            let code =
                if random.below(spoilt * 8) == 0 { ReasonCode::Implausible } else { ReasonCode::Stale };
            samples[at].values[0].1 = Value::Absent(code);
        }
        if spoilt > 0 && random.below(60) == 0 {
            let twice = samples[at].clone();
            samples.insert(at, twice);
        }
    }
    samples
}

/// Some moments of the time that is read and a little beyond, in order, of which two may be the same.
fn moments(random: &mut SplitMix) -> Vec<u64> {
    let within = random.below(10) > 0;
    let (begin_ns, end_ns) = if within { (READ.0 + SECOND / 2, READ.1 - SECOND) } else { (0, 10 * SECOND) };
    let mut moments: Vec<u64> = (0..3 + random.below(8))
        .map(|_| begin_ns + random.below((end_ns - begin_ns) as usize) as u64)
        .collect();
    if random.below(4) == 0 {
        moments.push(moments[0]);
    }
    moments.sort_unstable();
    moments
}

fn window(begin_ns: u64, end_ns: u64) -> Window {
    Window { begin_ns, end_ns }
}

fn is_same(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}

#[test]
fn parts_of_a_time_use_what_the_whole_uses() {
    let (mut random, mut told, mut refused) = (SplitMix(51), 0, 0);
    for round in 0..600 {
        let (wave, sensor) = any(&mut random);
        let mut channel = sensor.channel();
        channel.update_ns = (random.below(2) == 0).then_some(sensor.period_ns);
        let samples = readings(&wave, &sensor, &mut random);
        let moments = moments(&mut random);
        let parts: Vec<Window> = moments.windows(2).map(|pair| window(pair[0], pair[1])).collect();
        let whole = window(moments[0], *moments.last().unwrap());
        match (total(&channel, &samples, &[whole]), total(&channel, &samples, &parts)) {
            (Ok(whole), Ok(parts)) => {
                told += 1;
                assert!(is_same(whole.amount, parts.amount), "round {round}: {whole:?} and {parts:?}");
                for found in [whole, parts] {
                    let error = 1e-9 * found.amount.abs().max(1.0);
                    assert!(found.low <= found.amount + error, "round {round}: {found:?}");
                    assert!(found.amount <= found.high + error, "round {round}: {found:?}");
                }
                // The power of a load is never below what it uses at the least.
                assert!(whole.amount >= 0.0, "round {round}: {whole:?}");
            }
            // What is missing of a part is missing of the whole.
            (Err(NoTotal::FewUpdates(whole)), Err(NoTotal::FewUpdates(parts))) if whole == parts => {
                refused += 1;
            }
            (Err(NoTotal::Ends), Err(NoTotal::Ends)) => refused += 1,
            (Err(NoTotal::Coverage(whole)), Err(NoTotal::Coverage(parts))) if is_same(whole, parts) => {
                refused += 1;
            }
            (whole, parts) => panic!("round {round}: {whole:?} and {parts:?}"),
        }
    }
    assert!(told > 200 && refused > 50, "{told} {refused}");
}

/// Two packages of one machine, read together.
fn packages(random: &mut SplitMix) -> (Vec<Channel>, Vec<Sample>) {
    let sensor = Sensor { shows: Shows::Energy { range: 1e6 }, period_ns: MS, offset_ns: 0, noise: 0.0 };
    let mut waves = [0, 1].map(|_| any(random).0);
    waves[1].half_ns = waves[0].half_ns;
    let samples = sensor.samples(&waves[0], READ, (10 * MS, MS), random).into_iter().map(|mut sample| {
        sample.values.push((4, Value::Present(sensor.value(&waves[1], sample.t_ns))));
        sample
    });
    let package = |channel, id: &str| Channel { channel, id: id.to_owned(), ..sensor.channel() };
    let channels = vec![package(3, "energy.package-0"), package(4, "energy.package-1")];
    (channels, samples.collect())
}

/// Phases with times between them, as a run has them.
fn spans(moments: &[u64], random: &mut SplitMix) -> Vec<Span> {
    let phase = |random: &mut SplitMix| if random.below(2) == 0 { Phase::Prefill } else { Phase::Decode };
    let mut spans = Vec::new();
    for pair in moments.windows(2).step_by(1 + random.below(2)) {
        spans.push(Span {
            job: 1,
            repetition: 0,
            phase: phase(random),
            begin_ns: pair[0],
            end_ns: pair[1],
            tokens: 1 + random.below(100) as u32,
            sample_ns: 0,
            token_ends_ns: Vec::new(),
        });
    }
    spans
}

#[test]
fn phases_and_the_times_between_them_use_what_the_run_uses() {
    let (mut random, mut told) = (SplitMix(52), 0);
    for round in 0..200 {
        let (channels, samples) = packages(&mut random);
        let mut moments = moments(&mut random);
        moments.retain(|at| (READ.0 + SECOND / 4..READ.1 - SECOND / 4).contains(at));
        if moments.len() < 3 {
            continue;
        }
        let spans = spans(&moments, &mut random);
        let run = window(moments[0], *moments.last().unwrap());
        let rest: Vec<Window> = moments
            .windows(2)
            .map(|pair| window(pair[0], pair[1]))
            .filter(|part| {
                !spans.iter().any(|span| (span.begin_ns, span.end_ns) == (part.begin_ns, part.end_ns))
            })
            .collect();
        // Of a time that is too short nothing is told by itself.
        let of = |windows: &[Window]| -> Option<f64> {
            channels
                .iter()
                .map(|channel| total(channel, &samples, windows).ok().map(|found| found.amount))
                .sum()
        };
        let energy = of_phases(&spans, None, &samples, &channels);
        for row in &energy.phases {
            let windows: Vec<Window> = spans
                .iter()
                .filter(|span| span.phase == row.phase)
                .map(|span| window(span.begin_ns, span.end_ns))
                .collect();
            assert_eq!(row.joules.is_some(), of(&windows).is_some(), "round {round}: {row:?}");
            let Some((joules, packages)) = row.joules.zip(of(&windows)) else { continue };
            assert!(is_same(joules, packages), "round {round}: packages are not their sum: {row:?}");
            let tokens = row.joules_per_token.unwrap() * row.tokens as f64;
            assert!(is_same(joules, tokens), "round {round}: tokens are not their sum: {row:?}");
            assert!(row.low <= row.joules && row.joules <= row.high, "round {round}: {row:?}");
        }
        let phases: Option<f64> = energy.phases.iter().map(|row| row.joules).sum();
        let between = if rest.is_empty() { Some(0.0) } else { of(&rest) };
        if let (Some(phases), Some(between), Some(run)) = (phases, between, of(&[run])) {
            told += 1;
            assert!(is_same(phases + between, run), "round {round}: {phases} + {between} = {run}");
        }
    }
    assert!(told > 100, "{told}");
}
