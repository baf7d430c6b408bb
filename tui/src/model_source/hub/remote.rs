//! The hub itself: what a model consists of, what a file is, and the file.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hf_hub::api::RepoInfo;
use hf_hub::api::sync::{ApiBuilder, ApiRepo};
use hf_hub::{CacheRepo, Repo};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ureq::Agent;
use ureq::config::RedirectAuthHeaders;
use ureq::http::{HeaderMap, Response};

use super::Settings;
use super::reference::is_inside;
use super::transfer::transfer;

/// How long the hub may send nothing before the connection counts as lost.
const SILENCE: Duration = Duration::from_mins(1);
const CONNECT: Duration = Duration::from_secs(15);
/// Limit of a list of files, bytes. The list of a model with ten thousand files has 1 MB.
const MAX_INFO: u64 = 16 << 20;
/// Limit of redirections within the hub. Those to other servers, where large files are stored, are not counted.
const MAX_REDIRECTS: usize = 5;
/// Characters of a file's name that are encoded in a URL: all but the unreserved ones of RFC 3986 and the slash.
const IN_PATHS: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// Why a download failed.
#[derive(Debug)]
pub(super) enum RemoteError {
    /// The hub did not answer, or the connection broke.
    Unreachable(String),
    /// The hub answered with this HTTP status when it was asked for this.
    Status(u16, String),
    /// The hub's answer cannot be used.
    Answer(String),
    /// The cache cannot be written.
    Cache(PathBuf, io::Error),
}

impl RemoteError {
    /// The error with its remedy, as a text that follows the model's name.
    pub(super) fn explain(&self, settings: &Settings) -> String {
        let credential = if settings.token.is_some() { "the token in HF_TOKEN" } else { "no token" };
        match self {
            Self::Unreachable(why) => format!("cannot be downloaded: {why}"),
            Self::Status(401, what) => format!(
                "{what} cannot be read with {credential} (401): check the name; if it is right, the model is private or \
                 gated: set HF_TOKEN to a token of an account that may read it"
            ),
            Self::Status(403, what) => format!(
                "{what} cannot be read with {credential} (403): accept the model's terms on its page, and set HF_TOKEN \
                 to a token of that account"
            ),
            Self::Status(404, what) => format!("{what} does not exist on the hub (404): check the name"),
            Self::Status(429, what) => {
                format!("{what} is refused at the moment (429, too many requests): try again later")
            }
            Self::Status(status, what) => {
                format!("{what} cannot be downloaded: the hub answers {status}; try again later")
            }
            Self::Answer(what) => format!("cannot be downloaded: {what}; check HF_ENDPOINT"),
            Self::Cache(path, error) => {
                format!(
                    "cannot be stored in {}: {error}; set HF_HOME to use another directory",
                    path.display()
                )
            }
        }
    }
}

/// A model on the hub.
pub(super) struct Remote {
    urls: ApiRepo,
    agent: Agent,
    authorization: Option<String>,
    pause: Duration,
}

/// What the hub reports of a file.
struct Metadata {
    commit: String,
    etag: String,
    size: Option<u64>,
}

impl Remote {
    pub(super) fn new(settings: &Settings, repo: Repo) -> Result<Self, RemoteError> {
        let mut builder = ApiBuilder::from_cache(settings.cache.clone())
            .with_progress(false)
            .with_token(settings.token.clone());
        if let Some(endpoint) = &settings.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
        }
        let api = builder.build().map_err(|error| RemoteError::Answer(error.to_string()))?;
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .accept_encoding("identity")
            .user_agent(concat!("slmscope/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE))
            .build()
            .into();
        let authorization = settings.token.as_ref().map(|token| format!("Bearer {token}"));
        Ok(Self { urls: api.repo(repo), agent, authorization, pause: settings.pause })
    }

    /// Names of the files in the top directory of the model.
    pub(super) fn names(&self) -> Result<BTreeSet<String>, RemoteError> {
        // The library's own client has no time limits.
        let request = self.urls.info_request().config().http_status_as_error(false);
        let request = request
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE))
            .build();
        let mut response = request.call().map_err(from_ureq)?;
        if !response.status().is_success() {
            return Err(RemoteError::Status(response.status().as_u16(), "the model".to_owned()));
        }
        let bytes = response.body_mut().with_config().limit(MAX_INFO).read_to_vec().map_err(from_ureq)?;
        let info: RepoInfo = serde_json::from_slice(&bytes).map_err(|error| {
            RemoteError::Answer(format!("the hub's list of its files cannot be read: {error}"))
        })?;
        let names = info.siblings.into_iter().map(|sibling| sibling.rfilename);
        Ok(names.filter(|name| is_inside(name) && !name.contains('/')).collect())
    }

    /// The path of a file in the cache, downloaded if it is not there.
    pub(super) fn file(&self, cached: &CacheRepo, name: &str) -> Result<PathBuf, RemoteError> {
        let url = self.url(name);
        let metadata = self.metadata(&url, name)?;
        let pointer = cached.pointer_path(&metadata.commit).join(name);
        let blob = cached.blob_path(&metadata.etag);
        let keep = |error| RemoteError::Cache(blob.clone(), error);
        if !pointer.exists() {
            if !blob.exists() {
                fs::create_dir_all(blob.parent().unwrap_or(&blob)).map_err(keep)?;
                let get = |from: u64| self.get(&url, from);
                transfer(&get, &blob, metadata.size, name, self.pause)?;
            }
            link(&blob, &pointer, name).map_err(keep)?;
        }
        cached.create_ref(&metadata.commit).map_err(keep)?;
        Ok(pointer)
    }

    fn url(&self, name: &str) -> String {
        self.urls.url(&utf8_percent_encode(name, IN_PATHS).to_string())
    }

    /// Asks for a file's revision, identity and size. Large files are stored on other servers: the hub then answers with
    /// a redirection whose headers describe the file, so only redirections within the hub are followed.
    fn metadata(&self, url: &str, name: &str) -> Result<Metadata, RemoteError> {
        let mut url = url.to_owned();
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self.agent.head(&url).config().max_redirects(0).max_redirects_will_error(false);
            request = request.http_status_as_error(false);
            let mut request = request.build();
            if let Some(authorization) = &self.authorization {
                request = request.header("Authorization", authorization);
            }
            let response = request.call().map_err(from_ureq)?;
            let headers = response.headers();
            let status = response.status();
            if !status.is_success() && !status.is_redirection() {
                return Err(RemoteError::Status(status.as_u16(), name.to_owned()));
            }
            let location = header(headers, "location").filter(|_| status.is_redirection());
            match location.filter(|location| location.starts_with('/')) {
                Some(path) => url = format!("{}{path}", origin(&url)),
                None => return describe(headers, status.is_success(), name),
            }
        }
        Err(RemoteError::Answer(format!("the hub redirects requests for {name} in a circle")))
    }

    /// Requests a file from byte `from` on.
    fn get(&self, url: &str, from: u64) -> Result<Response<ureq::Body>, RemoteError> {
        let mut request = self.agent.get(url);
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        if from > 0 {
            request = request.header("Range", format!("bytes={from}-"));
        }
        request.call().map_err(from_ureq)
    }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.trim().to_owned())
}

/// Scheme, host and port of a URL.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    url[host..].find('/').map_or(url, |end| &url[..host + end])
}

fn describe(headers: &HeaderMap, is_whole: bool, name: &str) -> Result<Metadata, RemoteError> {
    let etag = header(headers, "x-linked-etag").or_else(|| header(headers, "etag"));
    let etag = etag.map(|etag| etag.trim_start_matches("W/").trim_matches('"').to_owned());
    // Both become file names.
    let id = |value: Option<String>, what: &str| {
        let is_id = |text: &String| {
            (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        value.filter(is_id).ok_or_else(|| {
            RemoteError::Answer(format!(
                "the answer for {name} has no {what}, so the server is not a Hugging Face hub"
            ))
        })
    };
    let size = header(headers, "x-linked-size")
        .or_else(|| header(headers, "content-length").filter(|_| is_whole))
        .and_then(|size| size.parse().ok());
    Ok(Metadata {
        commit: id(header(headers, "x-repo-commit"), "revision")?,
        etag: id(etag, "identity")?,
        size,
    })
}

fn from_ureq(error: ureq::Error) -> RemoteError {
    RemoteError::Unreachable(error.to_string())
}

/// Links the snapshot's file name to the blob.
fn link(blob: &Path, pointer: &Path, name: &str) -> io::Result<()> {
    fs::create_dir_all(pointer.parent().unwrap_or(pointer))?;
    if pointer.is_symlink() && !pointer.exists() {
        fs::remove_file(pointer)?; // Its blob was removed.
    }
    let up = "../".repeat(2 + name.matches('/').count());
    let target = Path::new(&up).join("blobs").join(blob.file_name().unwrap_or_default());
    match std::os::unix::fs::symlink(target, pointer) {
        // Another process made it in the meantime.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}
