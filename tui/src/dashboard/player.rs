//! Plays a recording: gives the frames that a daemon would have sent, up to a moment.
//!
//! ```text
//! file ─▶ entries in their order ─▶ frames ─▶ update(&mut State)
//!              └─ op batches ─▶ summaries, as the daemon's hub makes them
//! ```
//!
//! A recording is not kept in memory. Going back means reading it again from its beginning.

use std::fs::File;
use std::io::{Read, Seek};

use slmscope_exports::recording::{Entry, Event, OpenError, Reader};
use slmscope_profiles::lane::HOST_LANE;
use slmscope_profiles::op::Phase;
use slmscope_profiles::record::{PlanRecord, Record};
use slmscope_profiles::summary::{Summarizer, Summary};
use slmscope_profiles::wire::Frame;

use super::Msg;
use super::data::Data;
use super::replay::{Growth, Index};
use super::state::State;
use super::tasks::Figures;
use super::update::update;

/// Most tokens that single steps go to; far more than a day has.
const MAX_TOKENS: usize = 4 << 20;

/// The reading end.
pub struct Player<R> {
    reader: Reader<R>,
    /// The entry that was read and lies after the last target.
    next: Option<Entry>,
    /// The latest time so far, ns: entries without a time of their own, or that go back, are of this one.
    clock_ns: u64,
    plan: Option<PlanRecord>,
    summarizer: Summarizer,
}

impl<R: Read + Seek> Player<R> {
    /// Reads the recording to its end once, to know its times.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn open(mut reader: Reader<R>) -> Result<(Self, Index), OpenError> {
        let mut index = Index::default();
        let mut range: Option<(u64, u64)> = None;
        for event in reader.by_ref() {
            let Event::Entry(entry) = event? else { continue };
            let Some(t_ns) = time(&entry) else { continue };
            let (first, last) = range.unwrap_or((t_ns, t_ns));
            range = Some((first.min(t_ns), last.max(t_ns)));
            if is_token(&entry) && index.tokens.len() < MAX_TOKENS {
                index.tokens.push(t_ns);
            }
        }
        (index.first_ns, index.last_ns) = range.unwrap_or((0, 0));
        index.tokens.sort_unstable();
        (index.damaged, index.is_complete) = (reader.end().damaged, reader.end().is_complete);
        reader.rewind()?;
        let summarizer = Summarizer::default();
        Ok((Self { reader, next: None, clock_ns: 0, plan: None, summarizer }, index))
    }

    /// Brings the state to where it is wanted, or some way there: until `is_enough`, which is asked now and then.
    /// `is_written` says of a recording whose end is followed whether it was still written just before.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(super) fn follow(
        &mut self,
        state: &mut State,
        is_written: bool,
        mut is_enough: impl FnMut() -> bool,
    ) -> Result<(), OpenError> {
        let Some(replay) = &state.replay else { return Ok(()) };
        if !replay.is_behind() {
            return if replay.follows { self.grow(state, is_written, is_enough) } else { Ok(()) };
        }
        let target_ns = replay.target_ns;
        if replay.must_rewind() {
            self.reader.rewind()?;
            (self.next, self.clock_ns, self.plan) = (None, 0, None);
            self.summarizer = Summarizer::default();
            update(state, Msg::Rewound);
        }
        let mut entries = 0_u32;
        loop {
            let mut give = |frame| drop(update(state, Msg::Replayed(Box::new(frame))));
            let Some(entry) = self.next_until(target_ns)? else {
                self.summaries(None, &mut give);
                update(state, Msg::Played { at_ns: target_ns });
                return Ok(());
            };
            self.give(entry, &mut give);
            entries += 1;
            if entries.is_multiple_of(64) && is_enough() {
                // There may be more of the same time.
                let at_ns = self.clock_ns.saturating_sub(1).min(target_ns.saturating_sub(1));
                self.summaries(None, &mut give);
                update(state, Msg::Played { at_ns });
                return Ok(());
            }
        }
    }

    /// Gives what was written since the recording was read to its end, or some of it.
    fn grow(
        &mut self,
        state: &mut State,
        is_written: bool,
        mut is_enough: impl FnMut() -> bool,
    ) -> Result<(), OpenError> {
        self.reader.resume()?;
        let known = state.replay.as_ref().map_or(0, |replay| replay.index.tokens.len());
        let (mut growth, mut entries) = (Growth::default(), 0_u32);
        let mut give = |frame| drop(update(state, Msg::Replayed(Box::new(frame))));
        let is_read = loop {
            let Some(entry) = self.next_until(u64::MAX)? else { break true };
            if let Some(t_ns) = time(&entry) {
                growth.first_ns = if growth.first_ns == 0 { t_ns } else { growth.first_ns };
                growth.last_ns = growth.last_ns.max(t_ns);
                if is_token(&entry) && known + growth.tokens.len() < MAX_TOKENS {
                    growth.tokens.push(self.clock_ns);
                }
            }
            self.give(entry, &mut give);
            entries += 1;
            if entries.is_multiple_of(64) && is_enough() {
                break false;
            }
        };
        let end = self.reader.end();
        (growth.damaged, growth.is_complete) = (end.damaged, end.is_complete);
        growth.is_growing = !(is_read && (end.is_complete || !is_written));
        if entries == 0 && growth.is_growing {
            return Ok(());
        }
        self.summaries(None, &mut give);
        update(state, Msg::Grown(growth));
        let at_ns = state.replay.as_ref().map_or(0, |replay| replay.target_ns);
        update(state, Msg::Played { at_ns });
        Ok(())
    }

    /// The figures of the whole recording; `None` if no job with op events is in it.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn figures(mut self) -> Result<Option<Figures>, OpenError> {
        let mut data = Data::default();
        let mut give = |frame: Frame| data.take(&frame);
        while let Some(entry) = self.next_until(u64::MAX)? {
            self.give(entry, &mut give);
        }
        self.summaries(None, &mut give);
        Ok(Figures::of(&data))
    }

    /// The next entry, unless it is after `until_ns` or there is none.
    fn next_until(&mut self, until_ns: u64) -> Result<Option<Entry>, OpenError> {
        let entry = match self.next.take() {
            Some(entry) => entry,
            None => loop {
                match self.reader.next().transpose()? {
                    Some(Event::Entry(entry)) => break entry,
                    Some(Event::Damage(_)) => {}
                    None => return Ok(None),
                }
            },
        };
        self.clock_ns = time(&entry).map_or(self.clock_ns, |t_ns| t_ns.max(self.clock_ns));
        if self.clock_ns > until_ns {
            self.next = Some(entry);
            return Ok(None);
        }
        Ok(Some(entry))
    }

    /// Gives the frames that an entry stands for.
    fn give(&mut self, entry: Entry, give: &mut impl FnMut(Frame)) {
        match &entry {
            Entry::Record(record) => match &**record {
                Record::Plan(plan) => {
                    self.summaries(None, give);
                    self.plan = Some(plan.clone());
                }
                Record::Ops(ops) => {
                    if let Some(plan) = &self.plan {
                        let whole = self.summarizer.add(&ops.to_batch(), plan);
                        self.summaries(Some(whole), give);
                    }
                }
                _ => {}
            },
            Entry::Job(_) | Entry::Result { .. } => self.summaries(None, give),
        }
        give(entry.into_frame());
    }

    /// Gives these summaries, or all as far as they are.
    fn summaries(&mut self, whole: Option<Vec<Summary>>, give: &mut impl FnMut(Frame)) {
        for summary in whole.unwrap_or_else(|| self.summarizer.flush()) {
            give(Frame::Summary(summary));
        }
    }
}

/// Whether a recording is still written.
pub type IsWritten = Box<dyn FnMut() -> bool + Send>;

/// A recording that is replayed, and followed while it is still written.
pub struct Playing {
    player: Player<File>,
    is_written: IsWritten,
}

impl Playing {
    /// Reads the recording to where it ends now. `is_written` is asked again and again while its end is followed.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn open(reader: Reader<File>, mut is_written: IsWritten) -> Result<(Self, Index), OpenError> {
        let is_growing = is_written();
        let (player, mut index) = Player::open(reader)?;
        index.is_growing = is_growing && !index.is_complete;
        Ok((Self { player, is_written }, index))
    }

    /// As [`Player::follow`].
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(super) fn follow(
        &mut self,
        state: &mut State,
        is_enough: impl FnMut() -> bool,
    ) -> Result<(), OpenError> {
        let follows = state.replay.as_ref().is_some_and(|replay| replay.follows);
        let is_written = follows && (self.is_written)();
        self.player.follow(state, is_written, is_enough)
    }
}

/// When an entry was observed; the daemon's start, which may be long before, is not part of the recording.
fn time(entry: &Entry) -> Option<u64> {
    match entry {
        Entry::Record(record) if matches!(**record, Record::Header(_)) => None,
        entry => entry.t_ns(),
    }
}

/// Whether single steps go there.
fn is_token(entry: &Entry) -> bool {
    let Entry::Record(record) = entry else { return false };
    match &**record {
        Record::Ops(ops) => {
            ops.head.lane == HOST_LANE && matches!(ops.head.phase, Phase::Prefill | Phase::Decode)
        }
        _ => false,
    }
}
