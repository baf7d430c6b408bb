//! The name of a kept file: `JOB_UID_STATE_RUN_MODEL.json`.

use slmscope_profiles::job::JobState;
use slmscope_profiles::kept::KeptResult;

/// Longest name of a model in a file's name.
const MAX_MODEL: usize = 80;
/// Longest name of a run.
const MAX_RUN: usize = 64;

/// A model's name with `-` for what is not plain in a file's name.
pub(crate) fn plain(model: &str) -> String {
    let plain = |letter: char| {
        if letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_') { letter } else { '-' }
    };
    model.chars().take(MAX_MODEL).map(plain).collect()
}

/// The name of the file of a result.
pub(super) fn of(kept: &KeptResult) -> String {
    let KeptResult { job, uid, state, run_id, model, .. } = kept;
    format!("{job}_{uid}_{}_{run_id}_{model}.json", state.as_str())
}

/// What a name says, without size and time; `None` if it is that of another file.
pub(super) fn read(name: &str) -> Option<KeptResult> {
    let mut parts = name.strip_suffix(".json")?.splitn(5, '_');
    let (job, uid) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let state = match parts.next()? {
        "done" => JobState::Done,
        "failed" => JobState::Failed,
        "cancelled" => JobState::Cancelled,
        _ => return None,
    };
    let (run_id, model) = (parts.next()?.to_owned(), parts.next()?.to_owned());
    let is_run = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
    let is_plain = (1..=MAX_RUN).contains(&run_id.len())
        && run_id.bytes().all(is_run)
        && model.len() <= MAX_MODEL
        && plain(&model) == model;
    let kept = KeptResult { job, run_id, model, uid, state, unix_s: 0, bytes: 0 };
    // A name that is spelled otherwise, such as with zeros before a number, is none that was written here.
    (is_plain && of(&kept) == name).then_some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_is_listed_and_other_names_are_of_other_files() {
        let model = plain("org/na_me \u{1b}[31m.gguf");
        assert_eq!(model, "org-na_me---31m.gguf");
        let (run_id, state) = ("18f2a-1b-7".to_owned(), JobState::Failed);
        let kept = KeptResult { job: 7, run_id, model, uid: 1000, state, unix_s: 0, bytes: 0 };
        assert_eq!(of(&kept), "7_1000_failed_18f2a-1b-7_org-na_me---31m.gguf.json");
        assert_eq!(read(&of(&kept)), Some(kept));
        for other in [
            "last-job",
            ".part-7",
            "7_1000_failed_18f2a_m",
            "07_1000_done_18f2a_m.json",
            "7_1000_running_18f2a_m.json",
            "7_1000_done_../x_m.json",
            "7_1000_done__m.json",
            "7_-1_done_1_m.json",
            "7_1000_done_1_\u{1b}m.json",
            "99999999999999999999_0_done_1_m.json",
            "7_1000_done.json",
            ".json",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
