//! The prompt that `--prompt-file` names.

use std::io::{self, Read};
use std::path::Path;

use slmscope_profiles::workload::MAX_TEXT;

use crate::failure::Failure;
use crate::model_source::{OpenError, open};

/// Why a file is no prompt. Messages follow its name.
#[derive(Debug, thiserror::Error)]
enum PromptFileError {
    #[error("is no regular file; to use what a program writes, pipe it into `--prompt-file -`")]
    NotRegular,
    #[error("cannot be opened: {0}")]
    Open(OpenError),
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("is longer than {} MiB, the longest prompt that can be sent to the daemon", MAX_TEXT >> 20)]
    TooLong,
    #[error("is no text: byte {0} is not UTF-8")]
    NotText(usize),
    #[error("is empty; leave --prompt-file out, and set --prompt 0 to measure decode alone")]
    Empty,
}

/// The text in the file at `path`, or of standard input for `-`.
///
/// # Errors
/// If it is no regular file, too long, empty or no text. Standard input may be of any kind.
pub(super) fn read(path: &Path) -> Result<String, Failure> {
    let (name, text) = if path.as_os_str() == "-" {
        ("standard input".to_owned(), text(io::stdin().lock()))
    } else {
        let opened = open(path).map_err(|error| match error {
            OpenError::NotRegular => PromptFileError::NotRegular,
            error @ OpenError::System(_) => PromptFileError::Open(error),
        });
        (path.display().to_string(), opened.and_then(text))
    };
    text.map_err(|error| Failure::error(format!("--prompt-file: {name} {error}")))
}

/// The text that `source` holds. Reads at most one byte more than it may have.
fn text(source: impl Read) -> Result<String, PromptFileError> {
    let mut bytes = Vec::new();
    source.take(MAX_TEXT as u64 + 1).read_to_end(&mut bytes)?;
    match bytes.len() {
        0 => Err(PromptFileError::Empty),
        length if length > MAX_TEXT => Err(PromptFileError::TooLong),
        _ => String::from_utf8(bytes)
            .map_err(|error| PromptFileError::NotText(error.utf8_error().valid_up_to())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(path: &Path) -> String {
        read(path).err().and_then(|failure| failure.message).expect("a refusal with a message")
    }

    #[test]
    fn what_never_ends_and_what_is_no_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        for path in [Path::new("/dev/zero"), folder.path(), &fifo] {
            assert!(refusal(path).contains("no regular file"), "{}: {}", path.display(), refusal(path));
        }
        assert!(refusal(Path::new("/nonexistent")).contains("/nonexistent cannot be opened: No such file"));
    }

    #[test]
    fn a_prompt_is_bounded_and_is_text() {
        assert!(matches!(text(io::repeat(b'a')), Err(PromptFileError::TooLong)));
        assert_eq!(text(io::repeat(b'a').take(MAX_TEXT as u64)).unwrap().len(), MAX_TEXT);
        assert!(matches!(text(&b"ab\xff"[..]), Err(PromptFileError::NotText(2))));
        assert!(matches!(text(&b""[..]), Err(PromptFileError::Empty)));
    }
}
