//! The plan's slots: buffers for activations, each with the shape that the last step has written to it.

use slmscope_profiles::plan::{Plan, Rows, SlotId};

use super::arena::{Arena, Buffer, room};

/// A buffer and the shape of its content.
#[derive(Default)]
struct Slot {
    values: Buffer<f32>,
    rows: usize,
    width: usize,
}

/// All slots of a plan.
#[derive(Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
}

/// What a step works on: rows of `width` elements, one after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) rows: usize,
    pub(super) width: usize,
}

impl Slots {
    /// Bytes for chunks of up to `rows` rows; the logits are those of one row.
    pub(super) fn bytes(plan: &Plan, rows: usize) -> usize {
        (0..plan.slots.len()).map(|slot| room::<f32>(elements(plan, slot, rows))).sum()
    }

    pub(super) fn new(plan: &Plan, rows: usize, arena: &mut Arena) -> Self {
        let slot = |slot| Slot { values: arena.cut(elements(plan, slot, rows)), rows: 0, width: 0 };
        Self { slots: (0..plan.slots.len()).map(slot).collect() }
    }

    /// What is in a slot.
    pub(super) fn read(&self, slot: SlotId) -> &[f32] {
        let slot = &self.slots[usize::from(slot)];
        &slot.values[..slot.rows * slot.width]
    }

    /// What a step reads: all rows, or the last where only that is computed on.
    pub(super) fn input(&self, slot: SlotId, rows: Rows) -> (&[f32], Shape) {
        let Shape { rows: count, width } = self.shape(slot);
        match rows {
            Rows::All => (self.read(slot), Shape { rows: count, width }),
            Rows::Last => (&self.read(slot)[(count - 1) * width..], Shape { rows: 1, width }),
        }
    }

    pub(super) fn shape(&self, slot: SlotId) -> Shape {
        let slot = &self.slots[usize::from(slot)];
        Shape { rows: slot.rows, width: slot.width }
    }

    /// What is in a slot, to be changed in place.
    pub(super) fn change(&mut self, slot: SlotId) -> &mut [f32] {
        let slot = &mut self.slots[usize::from(slot)];
        &mut slot.values[..slot.rows * slot.width]
    }

    /// A slot that will hold `shape`; its content is undefined.
    pub(super) fn write(&mut self, slot: SlotId, shape: Shape) -> &mut [f32] {
        let slot = &mut self.slots[usize::from(slot)];
        (slot.rows, slot.width) = (shape.rows, shape.width);
        &mut slot.values[..shape.rows * shape.width]
    }

    /// Takes a buffer out, to borrow it apart from the others.
    pub(super) fn take(&mut self, slot: SlotId) -> Buffer<f32> {
        std::mem::take(&mut self.slots[usize::from(slot)].values)
    }

    /// Puts a buffer back, which now holds `shape`.
    pub(super) fn put(&mut self, slot: SlotId, values: Buffer<f32>, shape: Shape) {
        self.slots[usize::from(slot)] = Slot { values, rows: shape.rows, width: shape.width };
    }
}

fn elements(plan: &Plan, slot: usize, rows: usize) -> usize {
    let rows = if slot == usize::from(plan.logits) { 1 } else { rows };
    plan.slots[slot].width as usize * rows
}
