//! A decode step, as tests and benches make it up.

use slmscope_profiles::clock::ClockSource;
use slmscope_profiles::lane::HOST_LANE;
use slmscope_profiles::op::{BatchHead, OpBatch, OpEvent, Phase};
use slmscope_profiles::span::{NamedSpan, SpanName};
use slmscope_profiles::stats::SplitMix;

/// Time from one token to the next, ns.
pub const TOKEN_NS: u64 = 20_000_000;

/// A decode step of `events` ops, whose times vary by a few percent.
pub fn batch(token: u32, events: u32, random: &mut SplitMix) -> OpBatch {
    let begin_ns = 1_000_000_000 + TOKEN_NS * u64::from(token);
    let head = BatchHead {
        job: 1,
        plan: 1,
        lane: HOST_LANE,
        repetition: 0,
        phase: Phase::Decode,
        token,
        rows: 1,
        context: 512 + token,
        seq: u64::from(token),
        begin_ns,
        end_ns: begin_ns + TOKEN_NS,
        tick_ns: 1,
        clock: ClockSource::Host,
    };
    let mut event = |site: u32| {
        let usual = 2_000 + 7_919 * (site % 13);
        let duration = usual + random.below(usual as usize / 16) as u32;
        OpEvent { site: site as u16, reserved: 0, gap: 30 + random.below(24) as u32, duration }
    };
    let events = (0..events).map(&mut event).collect();
    let spans = vec![NamedSpan { name: SpanName::Sample, ns: 60_000 + random.below(9_000) as u64 }];
    OpBatch { head, spans, columns: Vec::new(), events }
}
