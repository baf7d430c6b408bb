//! Running a model, and comparing it with a golden file.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use slmscope_engine::clock::Monotonic;
use slmscope_engine::kernels::{Isa, is_available};
use slmscope_engine::map::MappedFile;
use slmscope_engine::model::Model;
use slmscope_engine::recorder::Recorder;
use slmscope_engine::session::Session;
use slmscope_engine::setup::{self, ExecutorKind, Setup, executor_is_available};
use slmscope_engine::verify::{Golden, verify};
use slmscope_engine::weights::Loading;
use slmscope_profiles::spec::Lengths;
use slmscope_profiles::verify::VerifyReport;

pub(crate) use slmscope_engine::verify::metrics::rms_over_std;

/// Every way to run a model on this machine: candle, and our kernels in each instruction set.
pub(crate) fn setups() -> Vec<Setup> {
    let isas = Isa::ALL.into_iter().filter(|&isa| is_available(isa));
    let ours = isas.map(|isa| Setup { isa, ..setup::native() });
    let candle = Setup { executor: ExecutorKind::Candle, ..setup::native() };
    std::iter::once(candle).chain(ours).filter(|setup| executor_is_available(setup.executor)).collect()
}

pub(crate) fn load(model: &Model, lengths: impl Into<Lengths>, setup: &Setup) -> Session {
    let cancel = AtomicBool::new(false);
    model.load(lengths, setup, &mut Loading::new(&cancel, &mut |_, _| ())).unwrap()
}

/// Ids below `vocab` in an order without a pattern that is seen at once.
pub(crate) fn prompt(tokens: u32, vocab: u32) -> Vec<u32> {
    (0..tokens).map(|index| (index * 29 + index * index * 3 + 1) % vocab).collect()
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

/// Compares `model` with the golden file at `path`.
pub(crate) fn verified(model: &Model, path: &Path, setup: &Setup) -> VerifyReport {
    let golden = Golden::read(&MappedFile::open(path).unwrap()).unwrap();
    golden.check_model(model.spec().vocab, model.spec().max_context).unwrap();
    let mut session = load(model, 1, setup);
    verify(&mut session, &golden, None, &AtomicBool::new(false), &mut |_, _| ()).unwrap()
}
