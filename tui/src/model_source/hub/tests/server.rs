//! A hub of one model, `org/name`, and the server that its large files are redirected to.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// From this size on a file lies elsewhere.
const LARGE: usize = 1000;

/// What goes wrong with a download of a large file.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The connection ends after so many bytes.
    BreakAfter(usize),
    /// The whole file comes, whatever was asked for.
    IgnoreRange,
    /// Another part comes.
    WrongRange,
    /// More comes than there is.
    TooMuch,
    /// Nothing comes but this status.
    Status(u16),
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    faults: VecDeque<Fault>,
    token: Option<String>,
    etag: Option<String>,
    log: Vec<String>,
    cdn: u16,
}

/// A running hub; its threads end with the test.
pub struct Server {
    state: Arc<Mutex<State>>,
    port: u16,
}

impl Server {
    pub fn start(files: BTreeMap<String, Vec<u8>>) -> Self {
        let state = Arc::new(Mutex::new(State { files, ..State::default() }));
        let cdn = listen(&state, "localhost");
        state.lock().unwrap().cdn = cdn;
        let port = listen(&state, "127.0.0.1");
        Self { state, port }
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// The fault of one download; several happen one after the other.
    pub fn fail(&self, fault: Fault) {
        self.state.lock().unwrap().faults.push_back(fault);
    }

    pub fn require_token(&self, token: &str) {
        self.state.lock().unwrap().token = Some(token.to_owned());
    }

    pub fn lie_about_etags(&self, etag: &str) {
        self.state.lock().unwrap().etag = Some(etag.to_owned());
    }

    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        self.state.lock().unwrap().files.insert(name.to_owned(), bytes);
    }

    pub fn etag(&self, name: &str) -> String {
        etag(&self.state.lock().unwrap().files[name])
    }

    pub fn commit(&self) -> String {
        commit(&self.state.lock().unwrap())
    }

    /// The requests since the last call: method, path, range, authorization.
    pub fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().log)
    }
}

fn etag(bytes: &[u8]) -> String {
    format!(
        "{:016x}-{}",
        bytes.iter().fold(7_u64, |sum, &byte| sum.wrapping_mul(31) + u64::from(byte)),
        bytes.len()
    )
}

fn commit(state: &State) -> String {
    etag(&state.files.values().flatten().copied().collect::<Vec<u8>>())
}

fn listen(state: &Arc<Mutex<State>>, host: &str) -> u16 {
    let listener = TcpListener::bind((host, 0)).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let state = Arc::clone(state);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let state = Arc::clone(&state);
            std::thread::spawn(move || {
                let _ = serve(stream, &state);
            });
        }
    });
    port
}

/// Answers one request; the client is told that there will be no second.
fn serve(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let (mut range, mut authorization) = (String::new(), String::new());
    for line in lines.by_ref() {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "range" => range = value.trim().to_owned(),
            "authorization" => authorization = value.trim().to_owned(),
            _ => {}
        }
    }
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or("").replace("%20", " "));
    let mut state = state.lock().unwrap();
    state.log.push(format!("{method} {path} range={range} authorization={authorization}"));
    let from = range.strip_prefix("bytes=").and_then(|range| range.strip_suffix('-')?.parse().ok());
    let answer = answer(&mut state, &path, from, &authorization);
    drop(state);
    let (head, body) = answer;
    write!(stream, "HTTP/1.1 {head}\r\nConnection: close\r\n\r\n")?;
    if method != "HEAD" {
        stream.write_all(&body)?;
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    // What the client still sends is read, or the connection would be reset under the answer.
    stream.read_to_end(&mut Vec::new()).map(drop)
}

fn plain(status: &str, body: &[u8]) -> (String, Vec<u8>) {
    (format!("{status}\r\nContent-Length: {}", body.len()), body.to_vec())
}

fn answer(state: &mut State, path: &str, from: Option<usize>, authorization: &str) -> (String, Vec<u8>) {
    if let Some(name) = path.strip_prefix("/cdn/") {
        let bytes = state.files[name].clone();
        return download(state.faults.pop_front(), &bytes, from);
    }
    if state.token.as_ref().is_some_and(|token| authorization != format!("Bearer {token}")) {
        return plain("401 Unauthorized", b"{}");
    }
    if path == "/api/models/org/name/revision/main" {
        let names: Vec<_> = state.files.keys().map(|name| serde_json::json!({"rfilename": name})).collect();
        let info = serde_json::json!({"siblings": names, "sha": commit(state)});
        return plain("200 OK\r\nContent-Type: application/json", info.to_string().as_bytes());
    }
    // As the hub does it, small files are found one redirection further on the same server.
    if let Some(name) = path.strip_prefix("/org/name/resolve/main/").filter(|name| name.contains("json")) {
        return plain(&format!("307 Temporary Redirect\r\nLocation: /moved/{name}"), b"");
    }
    let name = path.strip_prefix("/org/name/resolve/main/").or_else(|| path.strip_prefix("/moved/"));
    let Some((name, bytes)) = name.and_then(|name| Some((name, state.files.get(name)?))) else {
        return plain("404 Not Found", b"");
    };
    let etag = state.etag.clone().unwrap_or_else(|| etag(bytes));
    let commit = commit(state);
    if bytes.len() < LARGE {
        let head = format!("200 OK\r\nETag: W/\"{etag}\"\r\nX-Repo-Commit: {commit}");
        return plain(&head, bytes);
    }
    let (size, cdn, name) = (bytes.len(), state.cdn, name.replace(' ', "%20"));
    let head = format!(
        "302 Found\r\nETag: \"other\"\r\nX-Linked-Etag: \"{etag}\"\r\nX-Linked-Size: {size}\r\nX-Repo-Commit: {commit}\
         \r\nLocation: http://localhost:{cdn}/cdn/{name}"
    );
    plain(&head, b"")
}

fn download(fault: Option<Fault>, bytes: &[u8], from: Option<usize>) -> (String, Vec<u8>) {
    let size = bytes.len();
    let part = |from: usize| {
        let head = format!("206 Partial Content\r\nContent-Range: bytes {from}-{}/{size}", size - 1);
        plain(&head, &bytes[from..])
    };
    let (head, mut body) = match (fault, from) {
        (Some(Fault::Status(status)), _) => return plain(&format!("{status} Trouble"), b""),
        (Some(Fault::TooMuch), _) => return plain("200 OK", &[bytes, bytes].concat()),
        (Some(Fault::WrongRange), Some(from)) => part(from / 2),
        (Some(Fault::IgnoreRange), _) | (_, None) => plain("200 OK", bytes),
        (_, Some(from)) if from < size => part(from),
        _ => return plain("416 Range Not Satisfiable", b""),
    };
    if let Some(Fault::BreakAfter(count)) = fault {
        body.truncate(count);
    }
    (head, body)
}
