//! A job that waits for others: for which, whose they are, how far they are, and what can be done about it.

use std::collections::BTreeMap;

use slmscope_profiles::job::{Job, JobId, JobState};

use super::super::jobs::{age, plain};
use crate::user;

/// The jobs before one's own.
#[derive(Debug, Default)]
pub struct Waiting {
    /// Jobs that have not ended, by number.
    others: BTreeMap<JobId, Job>,
    own: Option<Job>,
    /// The job that was last named, and how many were ahead then.
    said: Option<(JobId, u32)>,
}

impl Waiting {
    /// Notes a job's state at a time of CLOCK_MONOTONIC. Returns what one's own job waits for, if that is another job
    /// than before.
    pub fn job(&mut self, job: &Job, own: JobId, now_ns: u64) -> Option<String> {
        if job.job == own {
            self.own = Some(job.clone());
        } else if job.state.is_final() {
            self.others.remove(&job.job);
        } else {
            self.others.insert(job.job, job.clone());
        }
        let own = self.own.as_ref().filter(|own| own.state == JobState::Queued && own.ahead > 0)?;
        let first = self.others.values().next()?;
        let is_new = self.said.replace((first.job, own.ahead)) != Some((first.job, own.ahead));
        is_new.then(|| text(first, own, now_ns))
    }
}

fn text(first: &Job, own: &Job, now_ns: u64) -> String {
    let is_own = first.uid == own.uid;
    let of = if is_own { "yours".to_owned() } else { format!("of user {}", user::name(first.uid)) };
    let age = first.submitted_ns.map_or_else(String::new, |ns| {
        format!(", submitted {} ago", age(now_ns.saturating_sub(ns) / 1_000_000_000))
    });
    let more = if own.ahead > 1 { format!(" and {} more", own.ahead - 1) } else { String::new() };
    let remedy = match (first.workload.looped, is_own) {
        (true, true) => format!("it ends with `slmscope cancel {}`", first.job),
        (true, false) => "it ends when its owner cancels it; --private does not wait".to_owned(),
        (false, _) => "--private does not wait, but then both disturb each other".to_owned(),
    };
    format!("waiting for job {} ({of}: {}{age}){more}; {remedy}", first.job, what(first))
}

/// `smollm2-135m, a loop, turn 3` or `smollm2-135m, repetition 2 of 6`.
fn what(job: &Job) -> String {
    let mut parts = vec![plain(&job.model)];
    if job.workload.looped {
        parts.push(format!("a loop in turn {}", u64::from(job.turns) + 1));
    } else if let Some(repetition) = job.repetition {
        let of = job.workload.repetitions.map_or_else(String::new, |all| format!(" of {all}"));
        parts.push(format!("repetition {}{of}", u64::from(repetition) + 1));
    } else {
        parts.push(job.state.as_str().to_owned());
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::tests::job;
    use super::*;

    /// Job 7, which waits for `ahead` others.
    fn own(ahead: u32) -> Job {
        Job { ahead, ..job(JobState::Queued) }
    }

    fn other(number: JobId, uid: u32, looped: bool) -> Job {
        let submitted_ns = Some(10_000_000_000);
        let mut other = Job { job: number, uid, submitted_ns, ..job(JobState::Measuring) };
        (other.workload.looped, other.repetition, other.turns) = (looped, Some(1), 2);
        other
    }

    /// When states are noted.
    const NOW_NS: u64 = 70_000_000_000;
    /// A user that no machine has.
    const STRANGER: u32 = 4_000_000_001;

    #[test]
    fn a_run_behind_a_loop_says_whose_it_is_how_old_and_how_it_ends() {
        let mut waiting = Waiting::default();
        assert_eq!(waiting.job(&other(3, 1000, true), 7, NOW_NS), None);
        assert_eq!(
            waiting.job(&own(2), 7, NOW_NS).unwrap(),
            "waiting for job 3 (yours: m, a loop in turn 3, submitted 60 s ago) and 1 more; it ends with `slmscope \
             cancel 3`"
        );
        assert_eq!(waiting.job(&own(2), 7, NOW_NS), None, "said once");
        assert_eq!(waiting.job(&other(3, 1000, true), 7, NOW_NS), None, "whatever it does meanwhile");
    }

    #[test]
    fn somebody_elses_loop_is_not_for_us_to_cancel() {
        let mut waiting = Waiting::default();
        waiting.job(&other(3, STRANGER, true), 7, NOW_NS);
        let said = waiting.job(&own(1), 7, NOW_NS).unwrap();
        assert!(
            said.contains("of user 4000000001: m") && said.contains("when its owner cancels it"),
            "{said}"
        );
    }

    #[test]
    fn what_it_waits_for_changes_with_the_queue_and_ends_with_it() {
        let mut waiting = Waiting::default();
        waiting.job(&other(3, 1000, false), 7, NOW_NS);
        let said = waiting.job(&own(1), 7, NOW_NS).unwrap();
        assert!(said.starts_with("waiting for job 3 (yours: m, repetition 2 of 4, submitted"), "{said}");
        assert!(said.ends_with("--private does not wait, but then both disturb each other"), "{said}");
        waiting.job(&Job { state: JobState::Done, ..other(3, 1000, false) }, 7, NOW_NS);
        let said = waiting.job(&other(4, 1000, false), 7, NOW_NS).unwrap();
        assert!(said.contains("job 4"), "{said}");
        assert_eq!(waiting.job(&job(JobState::Preparing), 7, NOW_NS), None);
        assert_eq!(waiting.job(&other(5, 1000, false), 7, NOW_NS), None, "it runs");
    }
}
