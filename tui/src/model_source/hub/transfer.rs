//! Fetching one file, in as many goes as it takes.
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

/// Goes without a single new byte before giving up.
const MOST_FRUITLESS: u32 = 3;
const CHUNK: usize = 256 << 10;

/// Asks for the file from a byte on.
type Get<'a> = dyn Fn(u64) -> Result<Response<ureq::Body>, RemoteError> + 'a;

/// Brings a file of `size` bytes to `blob`, going on where an earlier go ended. A server that brings nothing
/// new is left alone for `pause` before it is asked again.
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
        eprintln!("slmscope: another process is fetching {name}: waiting for it");
        flock(&file, FlockOperation::LockExclusive).map_err(|error| keep(error.into()))?;
    }
    if blob.exists() {
        return Ok(()); // fetched by the other one
    }
    let mut meter = Meter::new(name, size);
    let mut fruitless = 0;
    loop {
        let before = file.metadata().map_err(keep)?.len();
        let ended = go(get, &mut file, size, name, &mut meter);
        let now = file.metadata().map_err(keep)?.len();
        fruitless = if now > before { 0 } else { fruitless + 1 };
        match ended {
            Ok(()) => break,
            Err(Broken::Final(error)) => return Err(error),
            Err(Broken::Off(error)) if fruitless >= MOST_FRUITLESS => return Err(error),
            Err(Broken::Off(_)) if fruitless == 0 => {}
            Err(Broken::Off(_)) => std::thread::sleep(pause * fruitless),
        }
    }
    file.sync_all().map_err(keep)?;
    fs::rename(&part, blob).map_err(keep)?;
    meter.end();
    Ok(())
}

/// Why a go ended before the file was whole.
enum Broken {
    /// Another go may bring more.
    Off(RemoteError),
    /// It may not.
    Final(RemoteError),
}

/// One request and what it brings.
fn go(
    get: &Get<'_>,
    file: &mut File,
    size: Option<u64>,
    name: &str,
    meter: &mut Meter,
) -> Result<(), Broken> {
    let keep = |error| Broken::Final(RemoteError::Cache(name.into(), error));
    let mut have = file.metadata().map_err(keep)?.len();
    if size.is_some_and(|size| have > size) {
        // Left by something else: it cannot be the beginning of this file.
        file.set_len(0).map_err(keep)?;
        have = 0;
    }
    if size == Some(have) && have > 0 {
        return Ok(());
    }
    let response = get(have).map_err(Broken::Off)?;
    let status = response.status();
    match status {
        StatusCode::PARTIAL_CONTENT if starts_at(&response, have) => {}
        // The whole file instead of the rest of it.
        StatusCode::OK => have = 0,
        StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
            file.set_len(0).map_err(keep)?;
            let what = format!("the server gives another part of {name} than was asked for");
            return Err(Broken::Off(RemoteError::Answer(what)));
        }
        status => {
            let error = RemoteError::Status(status.as_u16(), name.to_owned());
            let passes = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
            return Err(if passes { Broken::Off(error) } else { Broken::Final(error) });
        }
    }
    file.set_len(have).map_err(keep)?;
    file.seek(SeekFrom::Start(have)).map_err(keep)?;
    let promised = response.body().content_length().map(|length| have + length);
    let size = size.or(promised);
    let mut body = response.into_body().into_reader();
    let mut chunk = vec![0; CHUNK];
    meter.at(have, size);
    loop {
        let count = match body.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                let why = format!("the transfer of {name} broke off: {error}");
                return Err(Broken::Off(RemoteError::Unreachable(why)));
            }
        };
        have += count as u64;
        if size.is_some_and(|size| have > size) {
            file.set_len(0).map_err(keep)?;
            let what = format!("more than the {} bytes of {name} come", size.unwrap_or(0));
            return Err(Broken::Final(RemoteError::Answer(what)));
        }
        file.write_all(&chunk[..count]).map_err(keep)?;
        meter.at(have, size);
    }
    match size {
        Some(size) if have < size => {
            let why = format!("the transfer of {name} broke off at {have} of {size} bytes");
            Err(Broken::Off(RemoteError::Unreachable(why)))
        }
        _ => Ok(()),
    }
}

/// Whether a partial answer begins where it was to begin.
fn starts_at(response: &Response<ureq::Body>, have: u64) -> bool {
    let range = response.headers().get("content-range").and_then(|value| value.to_str().ok());
    let start = range.and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.parse().ok());
    start == Some(have)
}
