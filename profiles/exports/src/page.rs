//! The report of a recorded run as one page of HTML that needs nothing else: no network, no other file.
//!
//! ```text
//! entries ──▶ Collector ── session, tokens, readings ──▶ sections ──▶ HTML, SVG, tables
//!                     │                              └─▶ series, thinned ──▶ JSON in the page ──▶ uPlot
//!                     └── of several sessions ──▶ compare ──▶ the same, beside each other
//! ```
//!
//! Every number is text in a table; charts show them again. Pictures are SVG made here, but for charts over time, which
//! uPlot draws. A chart's series keeps the smallest and the largest value of every stretch, so that no peak is lost.

mod bars;
mod charts;
mod comparison;
mod energy;
mod findings;
mod heat;
mod html;
mod identity;
mod machine;
mod memory;
mod phases;
mod roofline;
mod series;
mod time;
mod top;

use std::collections::BTreeMap;
use std::io::{self, Write};

use slmscope_profiles::channel::{Channel, ChannelId, Quantity, Value};
use slmscope_profiles::display::{or_absent, significant};
use slmscope_profiles::phase::Phase;
use slmscope_profiles::record::Record;
use slmscope_profiles::result::RunResult;

use crate::export::Readings;
use crate::recording::Entry;
use crate::session::{Run, Session};
pub use comparison::{Compared, PhaseVerdict, Words, compare};
use html::Html;
use series::Series;

/// The phases that a result is about.
const MEASURED: [Phase; 2] = [Phase::Prefill, Phase::Decode];

/// Readings that are charted at most, of one quantity.
const MAX_CHANNELS: usize = 8;

/// Points of a channel that are kept; of more, the smallest and the largest of every two stretches.
const MAX_POINTS: usize = 20_000;

/// A recording cannot be made into a page.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// There is nothing to report.
    #[error("no job in it has a result: it ended before that")]
    NoResult,
    /// The output takes no more.
    #[error("cannot write the page: {0}")]
    Io(#[from] io::Error),
}

/// Gathers from a recording what its page shows.
#[derive(Debug, Default)]
pub struct Collector {
    session: Session,
    readings: Readings,
    /// Clocks, temperatures and power over time.
    channels: BTreeMap<ChannelId, (Channel, Series)>,
}

impl Collector {
    /// Takes the next entry of a recording.
    pub fn take(&mut self, entry: &Entry) {
        self.session.add(entry);
        let Entry::Record(record) = entry else { return };
        match &**record {
            Record::Catalogue { channels } => self.readings.add(channels),
            Record::Sample(sample) => {
                let kept = &mut self.channels;
                let taken: Result<(), std::convert::Infallible> =
                    self.readings.take(sample, |channel, value| {
                        if let Value::Present(value) = value
                            && is_charted(channel)
                        {
                            let new = || (channel.clone(), Series::new(MAX_POINTS));
                            kept.entry(channel.channel).or_insert_with(new).1.push(sample.t_ns, value);
                        }
                        Ok(())
                    });
                taken.unwrap_or_else(|never| match never {});
            }
            _ => {}
        }
    }

    /// The result that the page is about: of the last job that has one.
    pub fn result(&self) -> Option<&RunResult> {
        self.session.last_run()?.result.as_deref()
    }

    /// Writes the page. `headline` says the result in a sentence.
    ///
    /// # Errors
    /// If there is no result, or `out` takes no more.
    pub fn write(&mut self, headline: &str, out: &mut impl Write) -> Result<(), PageError> {
        self.session.close();
        let (run, result) = self.run()?;
        let mut html = Html::default();
        top::section(&mut html, result, headline);
        findings::section(&mut html, result);
        time::section(&mut html, result);
        phases::section(&mut html, result);
        heat::layers(&mut html, result);
        let origin_ns = run.profile.spans().first().map_or(0, |span| span.begin_ns);
        let charts = charts::over_time(&mut html, &run.profile, &self.channels, origin_ns);
        machine::section(&mut html, result);
        memory::section(&mut html, result);
        energy::section(&mut html, result);
        identity::section(&mut html, result);
        identity::method(&mut html, result);
        html::page(out, &result.model.id, &html, &charts)?;
        Ok(())
    }

    /// The run that the page is about.
    fn run(&self) -> Result<(&Run, &RunResult), PageError> {
        let run = self.session.last_run().ok_or(PageError::NoResult)?;
        Ok((run, run.result.as_deref().ok_or(PageError::NoResult)?))
    }
}

/// Whether a channel's readings are drawn beside the tokens.
fn is_charted(channel: &Channel) -> bool {
    matches!(channel.quantity, Quantity::Frequency | Quantity::Temperature | Quantity::Power)
}

/// A rate in units of 10⁹, for columns of GB/s and GFLOP/s.
fn giga(rate: Option<f64>) -> String {
    or_absent(rate, |rate| significant(rate / 1e9))
}
