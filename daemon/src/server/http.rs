//! Metrics over HTTP/1.1, for Prometheus and `curl`: on the daemon's own socket, and on a TCP socket that systemd passed.
//!
//! One request a connection, which is closed after the answer. A client that sends or reads too slowly, or a head that is
//! too long, ends its connection.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use slmscope_profiles::metrics::Exposition;
use tokio::io::{self, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::Daemon;

/// Longest request line with its headers, bytes.
const MAX_HEAD: usize = 8 << 10;
/// Longest file with a token, bytes.
const MAX_TOKEN: u64 = 4 << 10;
/// Time in which a request must have come, and again an answer must have been read.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections over TCP at a time; further ones wait.
const MAX_CONNECTIONS: usize = 16;

/// The methods of HTTP, each with the blank that follows it.
const METHODS: [&[u8]; 9] =
    [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"TRACE ", b"CONNECT "];

/// Whether a connection that begins with these bytes speaks HTTP.
pub(super) fn is_request(bytes: &[u8]) -> bool {
    METHODS.iter().any(|method| bytes.starts_with(method))
}

/// Whether one may, of which more bytes may come.
pub(super) fn may_be_request(bytes: &[u8]) -> bool {
    METHODS.iter().any(|method| method.starts_with(bytes))
}

/// Who may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Access {
    /// The kernel said who is at the other end of the socket.
    Local {
        /// Whether that user may.
        may_read: bool,
    },
    /// Anybody who knows the token in this file; anybody at all if it is empty.
    Token(PathBuf),
}

/// Serves metrics on a TCP socket, until it is dropped.
pub(super) async fn serve(listener: TcpListener, daemon: Arc<Daemon>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let daemon = daemon.clone();
                tokio::spawn(async move {
                    let access = Access::Token(daemon.config().metrics_token_file.clone());
                    let (read, write) = stream.into_split();
                    let done = answer((read, write), Vec::new(), access, &daemon).await;
                    if let Err(error) = done {
                        tracing::debug!(%error, "A connection for metrics ended.");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "A connection for metrics could not be accepted.");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Reads the rest of a request, of which `begin` has come, and answers it.
///
/// # Errors
/// If the other end is gone, or too slow.
pub(super) async fn answer<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    (mut read, mut write): (R, W),
    begin: Vec<u8>,
    access: Access,
    daemon: &Arc<Daemon>,
) -> io::Result<()> {
    let answer = match tokio::time::timeout(PATIENCE, read_head(&mut read, begin)).await {
        Ok(head) => match head? {
            Some(head) => {
                let daemon = daemon.clone();
                // The token is in a file.
                let made = tokio::task::spawn_blocking(move || Answer::to(&head, &access, &daemon));
                made.await.map_err(io::Error::other)?
            }
            None => Answer::refusal("431 Request Header Fields Too Large", "the request's head is too long"),
        },
        Err(_) => Answer::refusal("408 Request Timeout", "the request did not come in time"),
    };
    let send = async {
        write.write_all(answer.text().as_bytes()).await?;
        write.shutdown().await?;
        // Until the other end has closed: closing before it has read all would take the answer from it.
        let mut rest = [0; 1024];
        while read.read(&mut rest).await? > 0 {}
        Ok(())
    };
    tokio::time::timeout(PATIENCE, send).await.unwrap_or(Ok(()))
}

/// The head of a request; `None` if it is too long.
async fn read_head(read: &mut (impl AsyncRead + Unpin), mut head: Vec<u8>) -> io::Result<Option<String>> {
    loop {
        let end = head.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.or_else(|| head.windows(2).position(|two| two == b"\n\n"));
        if let Some(end) = end {
            head.truncate(end);
            return Ok(Some(String::from_utf8_lossy(&head).into_owned()));
        }
        if head.len() >= MAX_HEAD {
            return Ok(None);
        }
        let mut more = [0; 1024];
        match read.read(&mut more).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => head.extend_from_slice(&more[..count]),
        }
    }
}

/// An answer to a request.
struct Answer {
    status: &'static str,
    media_type: &'static str,
    /// A further header, with its line end.
    header: &'static str,
    body: String,
    /// The request was for the head alone.
    is_head: bool,
}

impl Answer {
    fn refusal(status: &'static str, reason: &str) -> Self {
        Self {
            status,
            media_type: "text/plain; charset=utf-8",
            header: "",
            body: format!("{reason}\n"),
            is_head: false,
        }
    }

    /// The answer to a request with this head. Waits for the disk.
    fn to(head: &str, access: &Access, daemon: &Daemon) -> Self {
        let mut words = head.lines().next().unwrap_or_default().split(' ');
        let (method, target, version) = (words.next(), words.next(), words.next());
        let (Some(method), Some(target), Some(version), None) = (method, target, version, words.next())
        else {
            return Self::refusal("400 Bad Request", "a request is: GET /metrics HTTP/1.1");
        };
        if !version.starts_with("HTTP/1.") {
            return Self::refusal(
                "505 HTTP Version Not Supported",
                "only HTTP/1.0 and HTTP/1.1 are answered",
            );
        }
        let mut answer = match access.refuses(head) {
            Some(refusal) => refusal,
            None if !matches!(method, "GET" | "HEAD") => Self {
                header: "Allow: GET, HEAD\r\n",
                ..Self::refusal("405 Method Not Allowed", "metrics can be read, nothing else")
            },
            None if target.split('?').next() == Some("/metrics") => {
                let exposition = accepted(header(head, "accept").unwrap_or_default());
                Self {
                    status: "200 OK",
                    media_type: exposition.media_type(),
                    header: "",
                    body: daemon.metrics_page(exposition),
                    is_head: false,
                }
            }
            None => Self::refusal("404 Not Found", "there is nothing but /metrics"),
        };
        answer.is_head = method == "HEAD";
        answer
    }

    fn text(&self) -> String {
        let Self { status, media_type, header, body, is_head } = self;
        let length = body.len();
        let body = if *is_head { "" } else { body };
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n{header}Connection: \
             close\r\n\r\n{body}"
        )
    }
}

impl Access {
    /// Why a request with this head is refused; `None` if it is not.
    fn refuses(&self, head: &str) -> Option<Answer> {
        let file = match self {
            Self::Local { may_read: true } => return None,
            Self::Local { may_read: false } => {
                let reason = "only root, the daemon's user and members of group slmscope may read";
                return Some(Answer::refusal("403 Forbidden", reason));
            }
            Self::Token(file) if file.as_os_str().is_empty() => return None,
            Self::Token(file) => file,
        };
        let token = match read_token(file) {
            Ok(token) => token,
            Err(error) => {
                tracing::error!(file = %file.display(), %error, "The token for metrics cannot be read.");
                return Some(Answer::refusal("503 Service Unavailable", "the daemon cannot read its token"));
            }
        };
        let given = header(head, "authorization").and_then(|value| value.strip_prefix("Bearer "));
        (!given.is_some_and(|given| is_equal(given.trim(), &token))).then(|| Answer {
            header: "WWW-Authenticate: Bearer\r\n",
            ..Answer::refusal("401 Unauthorized", "send the token: Authorization: Bearer TOKEN")
        })
    }
}

/// The token in a file, without white space around it.
fn read_token(file: &std::path::Path) -> io::Result<String> {
    use std::io::Read;

    let mut text = String::new();
    std::fs::File::open(file)?.take(MAX_TOKEN).read_to_string(&mut text)?;
    let token = text.trim();
    if token.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is empty"));
    }
    Ok(token.to_owned())
}

/// Whether two tokens are the same, in a time that does not depend on where they differ.
fn is_equal(given: &str, token: &str) -> bool {
    let differing = given.bytes().zip(token.bytes()).fold(0, |all, (one, other)| all | (one ^ other));
    given.len() == token.len() && differing == 0
}

/// The value of a header; `None` if the head has none of that name.
fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let mut headers = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    headers.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// The format that a client wants most, as its `Accept` says.
fn accepted(accept: &str) -> Exposition {
    let quality = |wanted: &[&str]| {
        let ranges = accept.split(',').filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let media_type = parts.next()?;
            let quality =
                parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse().ok());
            wanted.contains(&media_type).then_some(quality?)
        });
        ranges.fold(0.0, f64::max)
    };
    let open = quality(&["application/openmetrics-text"]);
    if open > 0.0 && open >= quality(&["text/plain", "text/*", "*/*"]) {
        Exposition::OpenMetrics
    } else {
        Exposition::Text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_one_that_is_wanted_most() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, expected) in [
            (prometheus, Exposition::OpenMetrics),
            ("", Exposition::Text),
            ("*/*", Exposition::Text),
            ("text/html, application/openmetrics-text;q=0.2, text/plain;q=0.9", Exposition::Text),
            ("application/openmetrics-text;q=0", Exposition::Text),
            ("application/openmetrics-text;q=high", Exposition::Text),
        ] {
            assert_eq!(accepted(accept), expected, "{accept}");
        }
    }

    #[test]
    fn a_token_is_compared_whole() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "secret\n").unwrap();
        let access = Access::Token(file);
        let status = |header: &str| {
            let refusal = access.refuses(&format!("GET /metrics HTTP/1.1\r\n{header}"));
            refusal.map(|answer| answer.status.split(' ').next().unwrap().to_owned())
        };
        assert_eq!(status("authorization: Bearer secret"), None);
        for wrong in [
            "",
            "Authorization: Bearer secre",
            "Authorization: Bearer secrets",
            "Authorization: Basic secret",
        ] {
            assert_eq!(status(wrong).as_deref(), Some("401"), "{wrong}");
        }
        std::fs::write(folder.path().join("token"), " \n").unwrap();
        assert_eq!(status("Authorization: Bearer ").as_deref(), Some("503"), "an empty file lets nobody in");
    }
}
