//! Running a model, and distances between logits.

use std::sync::atomic::AtomicBool;

use slmscope_engine::clock::Monotonic;
use slmscope_engine::kernels::Isa;
use slmscope_engine::model::Model;
use slmscope_engine::recorder::Recorder;
use slmscope_engine::session::Session;
use slmscope_engine::setup::{ExecutorKind, Setup};
use slmscope_engine::weights::Loading;

/// Every way to run a model on this machine: candle, and our kernels in each instruction set.
pub(crate) fn setups() -> Vec<Setup> {
    let isas = Isa::ALL.into_iter().filter(|isa| isa.is_available());
    let ours = isas.map(|isa| Setup { isa, ..Setup::default() });
    let candle = Setup { executor: ExecutorKind::Candle, ..Setup::default() };
    std::iter::once(candle).chain(ours).collect()
}

pub(crate) fn load(model: &Model, capacity: u32, setup: &Setup) -> Session {
    let cancel = AtomicBool::new(false);
    model.load(capacity, setup, &mut Loading::new(&cancel, &mut |_, _| ())).unwrap()
}

/// Feeds `ids` in chunks of `rows`; gives the logits after each chunk.
pub(crate) fn feed(session: &mut Session, ids: &[u32], rows: usize) -> Vec<Vec<f32>> {
    let mut recorder = Recorder::new(session.plan().steps.len());
    let never = AtomicBool::new(false);
    let pass = |chunk: &[u32]| {
        session.forward(chunk, &mut recorder, &Monotonic, &never).unwrap();
        session.logits().to_vec()
    };
    ids.chunks(rows).map(pass).collect()
}

/// Root mean square of the difference over the standard deviation of `expected`.
pub(crate) fn rms_over_std(found: &[Vec<f32>], expected: &[Vec<f32>]) -> f64 {
    assert_eq!((found.len(), found[0].len()), (expected.len(), expected[0].len()));
    let pairs = || found.iter().flatten().zip(expected.iter().flatten());
    let count = pairs().count() as f64;
    let mean = pairs().map(|(_, e)| f64::from(*e)).sum::<f64>() / count;
    let variance = pairs().map(|(_, e)| (f64::from(*e) - mean).powi(2)).sum::<f64>() / count;
    let square = pairs().map(|(f, e)| (f64::from(*f) - f64::from(*e)).powi(2)).sum::<f64>() / count;
    (square / variance).sqrt()
}

/// Standard deviation of all logits.
pub(crate) fn deviation(logits: &[Vec<f32>]) -> f64 {
    let count = logits.iter().flatten().count() as f64;
    let mean = logits.iter().flatten().map(|logit| f64::from(*logit)).sum::<f64>() / count;
    let square: f64 = logits.iter().flatten().map(|logit| (f64::from(*logit) - mean).powi(2)).sum();
    (square / count).sqrt()
}

/// Greatest difference over the standard deviation of `all`, of which `expected` is a part.
pub(crate) fn most_over_std(found: &[Vec<f32>], expected: &[Vec<f32>], all: &[Vec<f32>]) -> f64 {
    assert_eq!((found.len(), found[0].len()), (expected.len(), expected[0].len()));
    let pairs = found.iter().flatten().zip(expected.iter().flatten());
    let distances = pairs.map(|(f, e)| f64::from((f - e).abs()));
    // A NaN is greater than all.
    distances.max_by(f64::total_cmp).unwrap_or(f64::NAN) / deviation(all)
}

/// Natural logarithms of the probabilities that these logits mean.
pub(crate) fn log_probabilities(logits: &[f32]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - most).exp()).sum();
    logits.iter().map(|logit| f64::from(logit - most) - sum.ln()).collect()
}

/// Kullback-Leibler divergence of `found` from `expected`, nats, mean over the rows.
pub(crate) fn divergence(found: &[Vec<f32>], expected: &[Vec<f32>]) -> f64 {
    let row = |(found, expected): (&Vec<f32>, &Vec<f32>)| -> f64 {
        let (found, expected) = (log_probabilities(found), log_probabilities(expected));
        expected.iter().zip(found).map(|(e, f)| e.exp() * (e - f)).sum()
    };
    found.iter().zip(expected).map(row).sum::<f64>() / found.len() as f64
}
