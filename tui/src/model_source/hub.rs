//! Models of the Hugging Face hub: `hf:org/name`, or one file of theirs with `hf:org/name:file.gguf`.
//!
//! Names, places and the cache's layout are those of the library `hf-hub`, so that what other programs fetched
//! is found, and the other way round. Asking for a file and fetching it is our own ([`remote`], [`transfer`]):
//! the library's way cannot go on after a whole or oversized part, takes a server's word that it honours
//! ranges, sends the token along to wherever a download is redirected, and knows no offline mode.

mod meter;
mod reference;
mod remote;
#[cfg(test)]
mod tests;
mod transfer;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use hf_hub::{Cache, CacheRepo, Repo};
use slmscope_profiles::model_files::{INDEX, ModelFiles};

use self::reference::Reference;
use self::remote::{Remote, RemoteError};
use super::directory::{self, DirectoryError};
use super::{ChosenModel, file};
use crate::failure::Failure;

/// Where the hub and its cache are, and who asks.
struct Settings {
    cache: Cache,
    /// `None` for the hub that the library knows.
    endpoint: Option<String>,
    token: Option<String>,
    offline: bool,
    /// How long a server that failed is left alone.
    pause: Duration,
}

impl Settings {
    /// From the variables that all of the hub's tools share.
    fn from_env() -> Self {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let cache = variable("HF_HUB_CACHE").map_or_else(Cache::from_env, |path| Cache::new(path.into()));
        let is_true = |value: String| matches!(&*value.to_ascii_lowercase(), "1" | "on" | "yes" | "true");
        Self {
            token: variable("HF_TOKEN").or_else(|| cache.token()),
            endpoint: variable("HF_ENDPOINT"),
            offline: variable("HF_HUB_OFFLINE").is_some_and(is_true),
            pause: Duration::from_secs(1),
            cache,
        }
    }
}

/// The model that `rest` names, fetched as far as it is not there yet.
///
/// # Errors
/// If the name is none, the hub refuses or cannot be reached, or the files make no model.
pub fn choose(rest: &str) -> Result<ChosenModel, Failure> {
    let reference = Reference::parse(rest).map_err(|error| Failure::usage(error.to_string()))?;
    fetch(&Settings::from_env(), &reference)
}

fn fetch(settings: &Settings, reference: &Reference) -> Result<ChosenModel, Failure> {
    let label = &reference.repo;
    let fail = |problem: String| Failure::error(format!("hf:{label} {problem}"));
    let repo = Repo::model(label.clone());
    let cached = settings.cache.repo(repo.clone());
    if settings.offline {
        let place = || fail(absent(settings, "HF_HUB_OFFLINE is set: unset it, or copy the model there"));
        return from_cache(&cached, reference)?.ok_or_else(place);
    }
    let remote = Remote::new(settings, repo).map_err(|error| fail(error.explain(settings)))?;
    match from_hub(&remote, &cached, reference) {
        Err(Stop::Remote(RemoteError::Unreachable(why))) => {
            if let Ok(Some(chosen)) = from_cache(&cached, reference) {
                note_line!("slmscope: the hub cannot be reached ({why}): running what was fetched before");
                return Ok(chosen);
            }
            Err(fail(absent(settings, &format!("the hub cannot be reached: {why}"))))
        }
        Err(Stop::Remote(error)) => Err(fail(error.explain(settings))),
        Err(Stop::Model(error)) => Err(fail(error.to_string())),
        Err(Stop::Local(failure)) => Err(failure),
        Ok(chosen) => Ok(chosen),
    }
}

fn absent(settings: &Settings, why: &str) -> String {
    format!("is not in the cache at {}, or not all of it, and {why}", settings.cache.path().display())
}

/// Why a model is not fetched.
enum Stop {
    /// The hub, or the way to it.
    Remote(RemoteError),
    /// Its files make no model.
    Model(DirectoryError),
    /// A file that is here cannot be opened.
    Local(Failure),
}

impl From<RemoteError> for Stop {
    fn from(error: RemoteError) -> Self {
        Self::Remote(error)
    }
}

impl From<DirectoryError> for Stop {
    fn from(error: DirectoryError) -> Self {
        Self::Model(error)
    }
}

/// Asks the hub, and fetches what is not in the cache.
fn from_hub(remote: &Remote, cached: &CacheRepo, reference: &Reference) -> Result<ChosenModel, Stop> {
    let label = &reference.named();
    if let Some(name) = &reference.file {
        let path = remote.file(cached, name)?;
        return file(&format!("{label}/{name}"), &path).map_err(Stop::Local);
    }
    let mut files = ModelFiles::select(label, &remote.names()?).map_err(DirectoryError::from)?;
    if files.needs_shards() {
        directory::add_shards(&mut files, &remote.file(cached, INDEX)?)?;
    }
    let places =
        files.within().iter().map(|name| remote.file(cached, name)).collect::<Result<Vec<_>, _>>()?;
    directory::open_files(&files, &places).map_err(Stop::Local)
}

/// Takes the model from the cache alone. `None` if it is not there, or not all of it.
fn from_cache(cached: &CacheRepo, reference: &Reference) -> Result<Option<ChosenModel>, Failure> {
    let label = &reference.named();
    if let Some(name) = &reference.file {
        return cached.get(name).map(|path| file(&format!("{label}/{name}"), &path)).transpose();
    }
    // The configuration or a GGUF file leads to the snapshot: the library has places of files only.
    let Some(snapshot) = snapshot(cached) else { return Ok(None) };
    let names = directory::names(&snapshot).unwrap_or_default();
    let Ok(mut files) = ModelFiles::select(label, &names) else { return Ok(None) };
    if files.needs_shards() {
        let added = directory::add_shards(&mut files, &snapshot.join(INDEX));
        added.map_err(|error| Failure::error(format!("the model {label} {error}")))?;
    }
    let places: Vec<_> = files.within().iter().map(|name| snapshot.join(name)).collect();
    if places.iter().any(|place| !place.exists()) {
        return Ok(None);
    }
    directory::open_files(&files, &places).map(Some)
}

/// The folder of the revision that was fetched last.
fn snapshot(cached: &CacheRepo) -> Option<PathBuf> {
    // A blob's place is `…/blobs/ID`, and the revision's name is beside in `refs`.
    let place = cached.blob_path("x");
    let repo = place.parent()?.parent()?;
    let commit = fs::read_to_string(repo.join("refs/main")).ok()?;
    Some(cached.pointer_path(commit.trim()))
}
