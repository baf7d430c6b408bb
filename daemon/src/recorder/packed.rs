//! Op batches as they are kept in memory: in as few bytes as their numbers need. The sites of a batch mostly follow each
//! other, and gaps and durations are small, so an event takes about five bytes instead of ten.

use slmscope_profiles::op::{BatchHead, ColumnValue, OpBatch};
use slmscope_profiles::plan::SiteId;
use slmscope_profiles::record::{Column, OpColumns};
use slmscope_profiles::span::NamedSpan;

/// A packed batch.
#[derive(Debug)]
pub(super) struct PackedBatch {
    head: BatchHead,
    spans: Vec<NamedSpan>,
    columns: Vec<ColumnValue>,
    /// Three numbers of each event: how far its site is behind the one after the last event's, its gap, its duration.
    events: Box<[u8]>,
}

impl PackedBatch {
    pub(super) fn of(batch: &OpBatch) -> Self {
        let mut events = Vec::with_capacity(batch.events.len() * 5);
        let mut next: SiteId = 0;
        for event in &batch.events {
            put(&mut events, u32::from(event.site.wrapping_sub(next)));
            put(&mut events, event.gap);
            put(&mut events, event.duration);
            next = event.site.wrapping_add(1);
        }
        Self {
            head: batch.head.clone(),
            spans: batch.spans.clone(),
            columns: batch.columns.clone(),
            events: events.into(),
        }
    }

    /// The batch as it is stored.
    pub(super) fn unpack(&self) -> OpColumns {
        let (mut site, mut gap, mut duration) = (Vec::new(), Vec::new(), Vec::new());
        let mut bytes = self.events.iter().copied();
        let mut next: SiteId = 0;
        while let Some(behind) = take(&mut bytes) {
            let at = next.wrapping_add(behind as SiteId);
            site.push(at);
            gap.extend(take(&mut bytes));
            duration.extend(take(&mut bytes));
            next = at.wrapping_add(1);
        }
        OpColumns {
            head: self.head.clone(),
            spans: self.spans.clone(),
            columns: self.columns.clone(),
            site: Column(site),
            gap: Column(gap),
            duration: Column(duration),
        }
    }

    /// End of the token or chunk, CLOCK_MONOTONIC ns.
    pub(super) fn end_ns(&self) -> u64 {
        self.head.end_ns
    }

    /// What it takes in memory, about, bytes.
    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + size_of_val(&self.spans[..]) + size_of_val(&self.columns[..]) + self.events.len()
    }
}

/// Appends a number, seven bits a byte from the lowest; all bytes but the last have the highest bit.
fn put(bytes: &mut Vec<u8>, mut number: u32) {
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Takes a number off its bytes; `None` at their end.
fn take(bytes: &mut impl Iterator<Item = u8>) -> Option<u32> {
    let mut number = 0;
    for shift in (0..u32::BITS).step_by(7) {
        let byte = bytes.next()?;
        number |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use slmscope_profiles::op::{ColumnQuantity, OpEvent};
    use slmscope_profiles::stats::SplitMix;

    use super::*;
    use crate::backend::scripted;

    #[test]
    fn a_batch_comes_back_as_it_was() {
        let mut random = SplitMix(3);
        for seq in 0..300 {
            let mut batch = scripted::token().batch(seq);
            let number = |random: &mut SplitMix| (random.next_u64() >> (32 + random.below(32))) as u32;
            batch.events = (0..random.below(40))
                .map(|at| OpEvent {
                    site: if random.below(3) == 0 { random.next_u64() as SiteId } else { at as SiteId },
                    reserved: 0,
                    gap: number(&mut random),
                    duration: number(&mut random),
                })
                .collect();
            batch.columns = vec![ColumnValue { event: None, quantity: ColumnQuantity::Experts, value: 8.0 }];
            assert_eq!(PackedBatch::of(&batch).unpack(), OpColumns::from(&batch));
        }
    }

    #[test]
    fn the_greatest_numbers_have_a_place() {
        for number in [0, 127, 128, 16_383, 16_384, u32::MAX] {
            let mut bytes = Vec::new();
            put(&mut bytes, number);
            assert_eq!(take(&mut bytes.iter().copied()), Some(number));
            assert!(bytes.len() <= 5);
        }
    }

    #[test]
    fn a_token_of_a_model_takes_half_of_what_its_columns_take() {
        let mut batch = scripted::token().batch(1);
        batch.events = (0..363).map(|site| OpEvent { site, reserved: 0, gap: 40, duration: 9_000 }).collect();
        let columns = batch.events.len() * (2 + 4 + 4);
        assert!(PackedBatch::of(&batch).size() < columns * 6 / 10);
    }
}
