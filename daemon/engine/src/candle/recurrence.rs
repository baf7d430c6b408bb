//! Recurrent blocks: their state, and the steps that read and write it.
//!
//! State cannot be rewound token by token. So two copies of it are kept: from the begin of the last pass, and from a
//! position that the caller chooses. A copy costs nothing until the state changes, since tensors are shared.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::ops::sigmoid;
use slmscope_profiles::plan::Plan;
use slmscope_profiles::spec::Recurrent;

/// Griffin's constant in the exponent of the decay.
const DECAY_FACTOR: f64 = 8.0;

/// What one recurrent layer knows of the tokens before.
#[derive(Clone)]
struct State {
    /// The convolution's last inputs, `[conv - 1, width]`.
    past: Tensor,
    /// `[1, width]`
    hidden: Tensor,
}

impl State {
    fn zero(shape: &Recurrent) -> Result<Self> {
        let (width, past) = (shape.width as usize, shape.conv as usize - 1);
        let zeros = |rows| Tensor::zeros((rows, width), DType::F32, &Device::Cpu);
        Ok(Self { past: zeros(past)?, hidden: zeros(1)? })
    }
}

/// The states of all recurrent layers at one place of the context.
#[derive(Clone, Default)]
struct Place {
    context: u32,
    states: Vec<State>,
}

/// The states of a session.
#[derive(Default)]
pub(super) struct Recurrences {
    now: Place,
    /// A pass has begun and not ended: `now` is between two places.
    open: bool,
    zero: Place,
    before: Place,
    kept: Place,
}

impl Recurrences {
    pub(super) fn new(shapes: &[Recurrent]) -> Result<Self> {
        let zero = Place { context: 0, states: shapes.iter().map(State::zero).collect::<Result<_>>()? };
        Ok(Self { now: zero.clone(), open: false, before: zero.clone(), kept: zero.clone(), zero })
    }

    /// Bytes of the states of `plan`: those of now, and three copies.
    pub(super) fn bytes(plan: &Plan) -> u64 {
        4 * plan.state_bytes()
    }

    /// Whether a pass can begin after `context` tokens.
    pub(super) fn begin_pass(&mut self, context: u32) -> bool {
        if self.now.states.is_empty() {
            return true;
        }
        if self.open {
            self.now = self.before.clone();
        }
        if self.now.context != context {
            return false;
        }
        self.before = self.now.clone();
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
        if self.now.states.is_empty() {
            return context;
        }
        let known = [&self.zero, &self.kept, &self.before];
        let now = (!self.open).then_some(&self.now);
        let fits = known.into_iter().chain(now).filter(|place| place.context <= context);
        let place = fits.max_by_key(|place| place.context).unwrap_or(&self.zero).clone();
        self.now = place;
        self.open = false;
        self.now.context
    }

    pub(super) fn keep(&mut self) {
        if !self.open {
            self.kept = self.now.clone();
        }
    }

    /// The convolution of [`Op::Conv1d`](slmscope_profiles::plan::Op::Conv1d): `[rows, width]` in and out,
    /// `weight` `[width, conv]`.
    pub(super) fn convolve(
        &mut self,
        state: usize,
        input: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
    ) -> Result<Tensor> {
        let (rows, (_, conv)) = (input.dim(0)?, weight.dims2()?);
        let state = &mut self.now.states[state];
        let seen = Tensor::cat(&[&state.past, input], 0)?;
        let tap = |tap: usize| seen.narrow(0, tap, rows)?.broadcast_mul(&weight.narrow(1, tap, 1)?.t()?);
        let mut sum = tap(0)?;
        for index in 1..conv {
            sum = (sum + tap(index)?)?;
        }
        state.past = seen.narrow(0, rows, conv - 1)?.contiguous()?;
        sum.broadcast_add(bias)
    }

    /// The recurrence of [`Op::Scan`](slmscope_profiles::plan::Op::Scan) over `[rows, width]`; `gates` are
    /// those of input and recurrence. `at_start` if the first row is position 0.
    pub(super) fn scan(
        &mut self,
        state: usize,
        input: &Tensor,
        [input_gate, recurrence_gate]: &[Tensor; 2],
        decay: &Tensor,
        at_start: bool,
    ) -> Result<Tensor> {
        let state = &mut self.now.states[state];
        // log a = -8 softplus(p) r
        let softplus = (decay.exp()? + 1.0)?.log()?;
        let log_a = (sigmoid(recurrence_gate)?.broadcast_mul(&softplus)? * -DECAY_FACTOR)?;
        let a = log_a.exp()?;
        let mut room = ((log_a * 2.0)?.exp()?.neg()? + 1.0)?.sqrt()?;
        let rows = input.dim(0)?;
        if at_start {
            let first = room.narrow(0, 0, 1)?.ones_like()?;
            room = Tensor::cat(&[&first, &room.narrow(0, 1, rows - 1)?], 0)?;
        }
        let added = ((sigmoid(input_gate)? * input)? * room)?;
        let mut states = Vec::with_capacity(rows);
        for row in 0..rows {
            let held = (a.narrow(0, row, 1)? * &state.hidden)?;
            state.hidden = (held + added.narrow(0, row, 1)?)?;
            states.push(state.hidden.clone());
        }
        Tensor::cat(&states, 0)
    }
}

/// `[rows, width]` times a block-diagonal matrix that is stored as `[width, width / blocks]`.
pub(super) fn block_product(matrix: &Tensor, blocks: usize, input: &Tensor) -> Result<Tensor> {
    let (rows, width) = input.dims2()?;
    let length = width / blocks;
    let matrix = matrix.reshape((blocks, length, length))?.transpose(1, 2)?.contiguous()?;
    let input = input.reshape((rows, blocks, length))?.transpose(0, 1)?.contiguous()?;
    input.matmul(&matrix)?.transpose(0, 1)?.reshape((rows, width))
}
