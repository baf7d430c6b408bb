//! Every family of Hugging Face checkpoints at sizes that no golden file has: a random configuration and random
//! weights, written by the test, read as any other, and compared with the slow decoder, which knows what the
//! configuration means from the test alone.

use slmscope_engine::setup::{self, ExecutorKind, Setup, executor_is_available};

use crate::families::{FAMILIES, draw};
use crate::passes::{feed, load, prompt, rms_over_std};
use crate::reference::Reference;
use crate::tensors::{directory, random, widened};

const SEEDS: u64 = 4;
const TOKENS: u32 = 19;
/// What f32 leaves of two orders of summation.
const LIMIT: f64 = 5e-6;

#[test]
fn every_family_is_read_at_any_size() {
    let executors =
        [ExecutorKind::Cpu, ExecutorKind::Candle].into_iter().filter(|e| executor_is_available(*e));
    let setups: Vec<_> = executors.map(|executor| Setup { executor, ..setup::native() }).collect();
    for (name, _) in FAMILIES {
        let mut worst: f64 = 0.0;
        for seed in 0..SEEDS {
            let family = draw(name, seed);
            let (spec, config) = (&family.spec, &family.config);
            let tensors = random(spec, seed);
            let ids = prompt(TOKENS, spec.vocab);
            let expected = Reference::with(spec, widened(&tensors), TOKENS).feed(&ids);
            let model = directory(config, &family.names.checkpoint(spec, &tensors));
            assert_eq!(model.spec().max_context, spec.max_context, "{config}");
            for setup in &setups {
                let mut session = load(&model, TOKENS, setup);
                for rows in [1, 7] {
                    session.rewind(0);
                    let ends: Vec<_> =
                        expected.chunks(rows).map(|chunk| chunk[chunk.len() - 1].clone()).collect();
                    let distance = rms_over_std(&feed(&mut session, &ids, rows), &ends);
                    let read = model.spec();
                    assert!(
                        distance < LIMIT,
                        "{distance} in chunks of {rows}, {setup:?}: seed {seed}, {config}\nread as {read:#?}\nis {spec:#?}"
                    );
                    worst = worst.max(distance);
                }
            }
        }
        eprintln!("{name}: {SEEDS} models, at most {worst:.1e} from the reference");
    }
}
