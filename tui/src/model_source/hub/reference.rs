//! The name after `hf:`.

use crate::model_source::is_gguf;

/// A model of the hub, or one file of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reference {
    /// `org/name`.
    pub(super) repo: String,
    /// Path of a file in it.
    pub(super) file: Option<String>,
}

/// A name that is none of the hub's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`hf:{0}` names no model of the hub: write hf:org/name or hf:org/name:file.gguf")]
pub(super) struct NotAReference(String);

impl Reference {
    /// Reads `org/name[:file]`, and `org/name/file.gguf` as [`named`](Self::named) spells it. Neither part can lead out of
    /// the place that the cache has for it.
    ///
    /// # Errors
    /// [`NotAReference`] for anything else.
    pub(super) fn parse(text: &str) -> Result<Self, NotAReference> {
        let second_slash = || text.match_indices('/').nth(1).filter(|_| is_gguf(text));
        let (repo, file) = match text.split_once(':') {
            Some((repo, file)) => (repo, Some(file)),
            None => second_slash().map_or((text, None), |(at, _)| (&text[..at], Some(&text[at + 1..]))),
        };
        let is_plain = |part: &str| {
            let ends_well = |end: Option<char>| end.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
            ends_well(part.chars().next())
                && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        };
        let is_repo = repo.split('/').count() == 2 && repo.split('/').all(is_plain);
        if !is_repo || file.is_some_and(|file| !is_inside(file)) {
            return Err(NotAReference(text.to_owned()));
        }
        Ok(Self { repo: repo.to_owned(), file: file.map(str::to_owned) })
    }

    /// The model as jobs and results name it: `hf:org/name`, below which its files are. On the command line it is this
    /// model again.
    pub(super) fn named(&self) -> String {
        format!("hf:{}", self.repo)
    }
}

/// Whether a path stays below the folder that it is taken in.
pub(super) fn is_inside(path: &str) -> bool {
    path.split('/').all(|part| !matches!(part, "" | "." | "..")) && !path.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_stay_inside_are_taken() {
        let parse = |text| Reference::parse(text).map(|found| (found.repo, found.file));
        assert_eq!(parse("a/b-1.5"), Ok(("a/b-1.5".to_owned(), None)));
        assert_eq!(parse("a/b:q/c d.gguf"), Ok(("a/b".to_owned(), Some("q/c d.gguf".to_owned()))));
        assert_eq!(parse("a/b/q/c d.gguf"), parse("a/b:q/c d.gguf"), "as results name it");
        for wrong in [
            "",
            "a",
            "a/b/c",
            "../b",
            "a/..",
            "a/b:",
            "a/b:../c",
            "a/b:/c",
            "a/b:c//d",
            "a b/c",
            "a/b/../c.gguf",
        ] {
            let error = parse(wrong).unwrap_err().to_string();
            assert!(error.contains("hf:org/name"), "{error}");
        }
    }
}
