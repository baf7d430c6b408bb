//! Prefill and decode rates of an executor, and the speed of the weight generator, by hand:
//! `cargo bench -p slmscope-engine --bench passes -- [THREADS] [candle | ISA] [MODEL.gguf ...]`.

use std::collections::BTreeMap;
use std::error::Error;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use slmscope_engine::clock::{Clock, Monotonic};
use slmscope_engine::gguf::GgufFile;
use slmscope_engine::map::MappedFile;
use slmscope_engine::model::Model;
use slmscope_engine::recorder::Recorder;
use slmscope_engine::session::Session;
use slmscope_engine::setup::{self, ExecutorKind, Setup};
use slmscope_engine::weights::Loading;
use slmscope_engine::{sampler, threads};
use slmscope_profiles::catalogue;
use slmscope_profiles::format::{KvFormat, WeightFormat};

const PROMPT: u32 = 512;
const GENERATE: u32 = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench").peekable();
    let count = arguments.next_if(|argument| argument.parse::<NonZeroUsize>().is_ok());
    let mut setup = setup::native();
    if arguments.next_if(|argument| argument == "candle").is_some() {
        setup.executor = ExecutorKind::Candle;
    } else if let Some(isa) = arguments.peek().and_then(|argument| argument.parse().ok()) {
        setup.isa = isa;
        arguments.next();
    }
    setup.threads =
        count.map_or_else(|| Ok(threads::default_count(setup.executor)), |count| count.parse())?;
    threads::configure(&setup)?;
    eprintln!("{setup:?}");
    let model = Model::synthetic(
        catalogue::find("smollm2-135m").expect("an embedded model").spec(),
        WeightFormat::Q4_0,
        1,
        KvFormat::F16,
    )?;
    passes("smollm2-135m synthetic q4_0", &model, &setup)?;
    for path in arguments {
        let file = GgufFile::open(Arc::new(MappedFile::open(Path::new(&path))?))?;
        let model = Model::gguf(&file, KvFormat::F16)?;
        passes(&path, &model, &setup)?;
    }
    Ok(())
}

fn passes(name: &str, model: &Model, setup: &Setup) -> Result<(), Box<dyn Error>> {
    let (clock, never) = (Monotonic, AtomicBool::new(false));
    let seconds = |begin: u64| (clock.now_ns() - begin) as f64 / 1e9;
    let begin = clock.now_ns();
    let mut session = model.load(PROMPT + GENERATE, setup, &mut Loading::new(&never, &mut |_, _| ()))?;
    let gib = model.plan().weight_bytes() as f64 / f64::from(1 << 30);
    eprintln!("{name}: {gib:.3} GiB in {:.3} s, {:?}", seconds(begin), session.memory());
    let mut recorder = Recorder::new(session.plan().steps.len());
    let prompt: Vec<u32> = (0..PROMPT).map(|index| 100 + index * 13 % 4000).collect();
    for round in 0..3 {
        session.rewind(0);
        let begin = clock.now_ns();
        recorder.begin(begin);
        for chunk in prompt.chunks(session.rows()) {
            session.forward(chunk, &mut recorder, &clock, &never)?;
        }
        let prefill = f64::from(PROMPT) / seconds(begin);
        let begin = clock.now_ns();
        for _ in 0..GENERATE {
            let id = sampler::greedy(session.logits())?;
            recorder.begin(clock.now_ns());
            session.forward(&[id], &mut recorder, &clock, &never)?;
        }
        let decode = f64::from(GENERATE) / seconds(begin);
        eprintln!("  round {round}: prefill {prefill:.1} tok/s, decode {decode:.1} tok/s");
    }
    last_token(&session, &recorder);
    Ok(())
}

/// Where the time of the last token went, by op name.
fn last_token(session: &Session, recorder: &Recorder) {
    let Some(recorded) = recorder.recorded() else { return };
    let mut names: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for event in recorded.events {
        let sum = names.entry(&session.plan().sites[usize::from(event.site)].name).or_default();
        *sum = (sum.0 + u64::from(event.duration), sum.1 + u64::from(event.gap));
    }
    for (name, (duration, gap)) in names {
        eprintln!("  {name:18} {:9.1} us, gaps {:5.1} us", duration as f64 / 1e3, gap as f64 / 1e3);
    }
}
