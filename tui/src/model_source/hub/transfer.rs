//! Downloading one file, in as many requests as it takes.
//!
//! ```text
//! ETAG.incomplete ──▶ grows, also over several runs of the program ──▶ has the right size: becomes ETAG
//! ```

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use ureq::http::{Response, StatusCode};

use super::meter::Meter;
use super::remote::RemoteError;

/// Requests in a row that may bring no new byte before the download fails.
const MAX_FRUITLESS: u32 = 3;
const CHUNK: usize = 256 << 10;

/// Requests the file from a byte on.
type Get<'a> = dyn Fn(u64) -> Result<Response<ureq::Body>, RemoteError> + 'a;

/// Downloads a file of `size` bytes to `blob`, from where an earlier download ended. After a request that brought nothing
/// new, the next one waits for `pause`, and longer each time.
pub(super) fn transfer(
    get: &Get<'_>,
    blob: &Path,
    size: Option<u64>,
    name: &str,
    pause: Duration,
) -> Result<(), RemoteError> {
    let part = blob.with_extension("incomplete");
    let keep = |error| RemoteError::Cache(part.clone(), error);
    let mut file =
        File::options().create(true).truncate(false).read(true).write(true).open(&part).map_err(keep)?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        note_line!("slmscope: another process downloads {name}: waiting for it");
        flock(&file, FlockOperation::LockExclusive).map_err(|error| keep(error.into()))?;
    }
    if blob.exists() {
        return Ok(()); // The other process has downloaded it.
    }
    let mut meter = Meter::new(name, size);
    let mut fruitless = 0;
    loop {
        let before = file.metadata().map_err(keep)?.len();
        let ended = request(get, &mut file, size, name, &mut meter);
        let now = file.metadata().map_err(keep)?.len();
        fruitless = if now > before { 0 } else { fruitless + 1 };
        match ended {
            Ok(()) => break,
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::MayPass(error)) if fruitless >= MAX_FRUITLESS => return Err(error),
            Err(Failure::MayPass(_)) if fruitless == 0 => {}
            // A server that is overloaded is asked again later, and each time later still.
            Err(Failure::MayPass(_)) => std::thread::sleep(pause * fruitless),
        }
    }
    file.sync_all().map_err(keep)?;
    fs::rename(&part, blob).map_err(keep)?;
    meter.end();
    Ok(())
}

/// Why a request ended before the file was complete.
enum Failure {
    /// Another request may bring more.
    MayPass(RemoteError),
    /// Another request would fail as well.
    Final(RemoteError),
}

impl Failure {
    fn broken(why: String) -> Self {
        Self::MayPass(RemoteError::Unreachable(why))
    }
}

/// Requests what is missing of the file, and writes what comes.
fn request(
    get: &Get<'_>,
    file: &mut File,
    size: Option<u64>,
    name: &str,
    meter: &mut Meter,
) -> Result<(), Failure> {
    let keep = |error| Failure::Final(RemoteError::Cache(name.into(), error));
    let mut have = file.metadata().map_err(keep)?.len();
    if size.is_some_and(|size| have > size) {
        // Some other program wrote it: it cannot be the beginning of this file.
        file.set_len(0).map_err(keep)?;
        have = 0;
    }
    if size == Some(have) && have > 0 {
        return Ok(());
    }
    let response = get(have).map_err(Failure::MayPass)?;
    let Some(begin) = begin_of(&response, have, name)? else {
        file.set_len(0).map_err(keep)?;
        let what = format!("the server sent another part of {name} than the one requested");
        return Err(Failure::MayPass(RemoteError::Answer(what)));
    };
    file.set_len(begin).map_err(keep)?;
    file.seek(SeekFrom::Start(begin)).map_err(keep)?;
    let promised = response.body().content_length().map(|length| begin + length);
    write_body(response, begin, file, size.or(promised), name, meter)
}

/// The byte from which on a response has the file: `have`, which was requested, or 0. `None` if it has another part.
fn begin_of(response: &Response<ureq::Body>, have: u64, name: &str) -> Result<Option<u64>, Failure> {
    match response.status() {
        StatusCode::PARTIAL_CONTENT if starts_at(response, have) => Ok(Some(have)),
        // The whole file instead of the rest of it.
        StatusCode::OK => Ok(Some(0)),
        StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => Ok(None),
        status => {
            let error = RemoteError::Status(status.as_u16(), name.to_owned());
            let may_pass = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
            Err(if may_pass { Failure::MayPass(error) } else { Failure::Final(error) })
        }
    }
}

/// Writes the body of a response, which begins at byte `have` of a file of `size` bytes.
fn write_body(
    response: Response<ureq::Body>,
    mut have: u64,
    file: &mut File,
    size: Option<u64>,
    name: &str,
    meter: &mut Meter,
) -> Result<(), Failure> {
    let keep = |error| Failure::Final(RemoteError::Cache(name.into(), error));
    let mut body = response.into_body().into_reader();
    let mut chunk = vec![0; CHUNK];
    meter.at(have, size);
    loop {
        let count = match body.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::broken(format!("the download of {name} broke off: {error}"))),
        };
        have += count as u64;
        if let Some(size) = size.filter(|&size| have > size) {
            file.set_len(0).map_err(keep)?;
            let what = format!("the server sent more than the {size} bytes of {name}");
            return Err(Failure::Final(RemoteError::Answer(what)));
        }
        file.write_all(&chunk[..count]).map_err(keep)?;
        meter.at(have, size);
    }
    match size {
        Some(size) if have < size => {
            Err(Failure::broken(format!("the download of {name} broke off at {have} of {size} bytes")))
        }
        _ => Ok(()),
    }
}

/// Whether a partial response begins at the byte that was requested.
fn starts_at(response: &Response<ureq::Body>, have: u64) -> bool {
    let range = response.headers().get("content-range").and_then(|value| value.to_str().ok());
    let start = range.and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.parse().ok());
    start == Some(have)
}
