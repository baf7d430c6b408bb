//! An op batch as it is stored and sent: a column for each field of its events.

use serde::{Deserialize, Serialize};

use super::Column;
use crate::op::{BatchHead, ColumnValue, OpBatch, OpEvent};
use crate::span::NamedSpan;

/// An op batch, by columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpColumns {
    /// What the events share.
    pub head: BatchHead,
    /// Time in named spans.
    #[serde(default)]
    pub spans: Vec<NamedSpan>,
    /// Further columns, by value; absent where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<ColumnValue>,
    /// Sites.
    pub site: Column<u16>,
    /// Ticks since the end of the event before.
    pub gap: Column<u32>,
    /// Ticks that each took.
    pub duration: Column<u32>,
}

impl From<&OpBatch> for OpColumns {
    fn from(batch: &OpBatch) -> Self {
        Self {
            head: batch.head.clone(),
            spans: batch.spans.clone(),
            columns: batch.columns.clone(),
            site: Column(batch.events.iter().map(|event| event.site).collect()),
            gap: Column(batch.events.iter().map(|event| event.gap).collect()),
            duration: Column(batch.events.iter().map(|event| event.duration).collect()),
        }
    }
}

impl OpColumns {
    /// Back to events; columns of unequal length end with the shortest.
    pub fn to_batch(&self) -> OpBatch {
        let columns = self.site.0.iter().zip(&self.gap.0).zip(&self.duration.0);
        let events =
            columns.map(|((&site, &gap), &duration)| OpEvent { site, reserved: 0, gap, duration }).collect();
        OpBatch { head: self.head.clone(), spans: self.spans.clone(), columns: self.columns.clone(), events }
    }
}
