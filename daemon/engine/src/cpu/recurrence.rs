//! State of recurrent layers, and the steps that read and write it.
//!
//! State cannot be rewound token by token, so two copies of it are kept: from the begin of the last pass, and from a
//! position that the caller chooses.

use slmscope_profiles::plan::{Plan, SlotId};

use super::arena::{Arena, Buffer, room};
use super::slots::Slots;
use super::weight::Weights;
use crate::ops::Simd;
use crate::ops::recurrent::{convolve, recur};

/// The states of all recurrent layers at one place of the context: for each layer the convolution's past
/// inputs, channel by channel, then the recurrence's state.
#[derive(Default)]
struct Place {
    context: u32,
    values: Buffer<f32>,
}

/// Where a layer's state lies.
#[derive(Debug, Clone, Copy)]
struct Layer {
    start: usize,
    width: usize,
    taps: usize,
}

/// The states of a session.
#[derive(Default)]
pub(super) struct Recurrences {
    layers: Vec<Layer>,
    now: Place,
    before: Place,
    kept: Place,
    /// A pass has begun and not ended: `now` is a state inside it.
    open: bool,
}

fn elements(plan: &Plan) -> usize {
    plan.state_bytes() as usize / size_of::<f32>()
}

impl Recurrences {
    /// Bytes of the states of `plan`: those of now, and two copies.
    pub(super) fn bytes(plan: &Plan) -> usize {
        3 * room::<f32>(elements(plan))
    }

    pub(super) fn new(plan: &Plan, arena: &mut Arena) -> Self {
        let mut start = 0;
        let layers = plan.states.iter().map(|shape| {
            let layer = Layer { start, width: shape.width as usize, taps: shape.conv as usize };
            start += shape.state_elements() as usize;
            layer
        });
        let layers = layers.collect();
        let mut place = || Place { context: 0, values: arena.cut(elements(plan)) };
        Self { layers, now: place(), before: place(), kept: place(), open: false }
    }

    /// Whether a pass can begin after `context` tokens.
    pub(super) fn begin_pass(&mut self, context: u32) -> bool {
        if self.layers.is_empty() {
            return true;
        }
        if self.open {
            copy(&self.before, &mut self.now);
        }
        if self.now.context != context {
            return false;
        }
        copy(&self.now, &mut self.before);
        self.open = true;
        true
    }

    /// The pass that has begun is complete, with `context` tokens now.
    pub(super) fn end_pass(&mut self, context: u32) {
        self.now.context = context;
        self.open = false;
    }

    /// Goes back to the last saved place at or before `context`, and returns which. Without recurrent
    /// layers every place is known.
    pub(super) fn rewind(&mut self, context: u32) -> u32 {
        if self.layers.is_empty() || (!self.open && self.now.context <= context) {
            return if self.layers.is_empty() { context } else { self.now.context };
        }
        let known = [&self.kept, &self.before].into_iter().filter(|place| place.context <= context);
        match known.max_by_key(|place| place.context).map(|place| place.context) {
            // Without tokens there is no state.
            None | Some(0) => {
                self.now.values.fill(0.0);
                self.now.context = 0;
            }
            Some(at) if at == self.kept.context => copy(&self.kept, &mut self.now),
            Some(_) => copy(&self.before, &mut self.now),
        }
        self.open = false;
        self.now.context
    }

    pub(super) fn keep(&mut self) {
        if !self.open {
            copy(&self.now, &mut self.kept);
        }
    }

    /// `Op::Conv1d`
    pub(super) fn convolve(
        &mut self,
        simd: Simd,
        weights: &Weights,
        slots: &mut Slots,
        state: u32,
        (weight, bias): (u32, u32),
        (input, out): (SlotId, SlotId),
    ) {
        let Layer { start, width, taps } = self.layers[state as usize];
        let past = &mut self.now.values[start..start + width * (taps - 1)];
        let (weight, bias) = (weights.small(weight), weights.small(bias));
        let shape = slots.shape(input);
        let mut buffer = slots.take(out);
        let rows = slots.read(input).chunks_exact(width).zip(buffer.chunks_exact_mut(width));
        for (input, out) in rows {
            convolve(simd, taps, weight, bias, past, input, out);
        }
        slots.put(out, buffer, shape);
    }

    /// `Op::Scan`; `gates` are those of input and recurrence.
    #[expect(clippy::too_many_arguments, reason = "the step's own slots and weights")]
    pub(super) fn scan(
        &mut self,
        simd: Simd,
        rates: &[f32],
        slots: &mut Slots,
        state: u32,
        input: SlotId,
        gates: (SlotId, SlotId),
        out: SlotId,
    ) {
        let Layer { start, width, taps } = self.layers[state as usize];
        let hidden = &mut self.now.values[start + width * (taps - 1)..][..width];
        let shape = slots.shape(input);
        for row in 0..shape.rows {
            let place = row * width..(row + 1) * width;
            let of = |slot| &slots.read(slot)[place.clone()];
            let first = self.before.context == 0 && row == 0;
            recur(simd, first, rates, of(input), of(gates.0), of(gates.1), hidden);
            // The slot may be one of those read, whose row is done with.
            let mut buffer = slots.take(out);
            buffer[place].copy_from_slice(hidden);
            slots.put(out, buffer, shape);
        }
    }
}

fn copy(from: &Place, to: &mut Place) {
    to.values.copy_from_slice(&from.values);
    to.context = from.context;
}
