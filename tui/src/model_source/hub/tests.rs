//! Against a small hub on loopback, as the real one behaves: small files from the hub itself, large ones
//! redirected to another server; and as servers misbehave.

mod server;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use hf_hub::Cache;
use slmscope_profiles::job::ModelRef;

use super::{Reference, Settings, fetch};
use server::{Fault, Server};

const GGUF: &[u8] = &[7; 700_000];

fn files() -> BTreeMap<String, Vec<u8>> {
    let index = br#"{"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}"#;
    let content = [
        ("config.json", b"{}".to_vec()),
        ("tokenizer.json", b"{\"version\": \"1.0\"}".to_vec()),
        ("README.md", b"words".to_vec()),
        ("model.safetensors.index.json", index.to_vec()),
        ("model-1-of-2.safetensors", vec![1; 300_000]),
        ("model-2-of-2.safetensors", vec![2; 200_000]),
        ("quantized/m q4.gguf", GGUF.to_vec()),
    ];
    content.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect()
}

/// A cache of its own, and a way to fetch with it.
struct Client {
    home: tempfile::TempDir,
    settings: Settings,
}

impl Client {
    fn new(endpoint: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::new(home.path().join("hub"));
        let endpoint = Some(endpoint.to_owned());
        let settings = Settings { cache, endpoint, token: None, offline: false, pause: Duration::ZERO };
        Self { home, settings }
    }

    /// Names and contents of the model's files.
    fn fetch(&self, name: &str) -> Result<BTreeMap<String, Vec<u8>>, String> {
        let chosen = fetch(&self.settings, &Reference::parse(name).unwrap())
            .map_err(|failure| failure.message.expect("it says why"))?;
        let ModelRef::Descriptors(names) = chosen.model else { panic!("files were chosen") };
        assert_eq!(names.len(), chosen.files.len());
        let read = |(name, mut file): (String, std::fs::File)| {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).unwrap();
            (name, bytes)
        };
        Ok(names.into_iter().zip(chosen.files).map(read).collect())
    }

    fn repo(&self) -> std::path::PathBuf {
        self.home.path().join("hub/models--org--name")
    }
}

const FILE: &str = "org/name:quantized/m q4.gguf";
const FILE_NAME: &str = "hf:org/name/quantized/m q4.gguf";

fn only(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    BTreeMap::from([(FILE_NAME.to_owned(), bytes.to_vec())])
}

#[test]
fn a_directory_model_comes_with_its_shards_and_is_then_in_the_cache() {
    let server = Server::start(files());
    let mut client = Client::new(&server.endpoint());
    let got = client.fetch("org/name").unwrap();
    let mut expected = files();
    expected.retain(|name, _| !["README.md", "quantized/m q4.gguf"].contains(&name.as_str()));
    let expected: BTreeMap<_, _> =
        expected.into_iter().map(|(name, bytes)| (format!("hf:org/name/{name}"), bytes)).collect();
    assert_eq!(got, expected);
    // The layout that all of the hub's tools share.
    let commit = std::fs::read_to_string(client.repo().join("refs/main")).unwrap();
    let link = client.repo().join("snapshots").join(&commit).join("model-1-of-2.safetensors");
    let target = std::fs::read_link(link).unwrap();
    assert!(target.starts_with("../../blobs") && commit == server.commit(), "{}", target.display());

    assert!(server.take_log().iter().any(|line| line.starts_with("GET /cdn/")));
    assert_eq!(client.fetch("org/name").unwrap(), expected);
    assert!(server.take_log().iter().all(|line| !line.contains("/cdn/")), "nothing is fetched twice");
    client.settings.offline = true;
    assert_eq!(client.fetch("org/name").unwrap(), expected);
    assert!(server.take_log().is_empty(), "offline asks nobody");
}

#[test]
fn a_file_that_changed_on_the_hub_is_fetched_anew() {
    let server = Server::start(files());
    let client = Client::new(&server.endpoint());
    assert_eq!(client.fetch(FILE).unwrap(), only(GGUF));
    server.put("quantized/m q4.gguf", vec![9; 1000]);
    assert_eq!(client.fetch(FILE).unwrap(), only(&[9; 1000]));
    assert_eq!(std::fs::read_dir(client.repo().join("blobs")).unwrap().count(), 2);
}

#[test]
fn a_broken_transfer_goes_on_where_it_broke() {
    let server = Server::start(files());
    server.fail(Fault::BreakAfter(100_000));
    let client = Client::new(&server.endpoint());
    assert_eq!(client.fetch(FILE).unwrap(), only(GGUF));
    let log = server.take_log();
    let gets: Vec<_> = log.iter().filter(|line| line.starts_with("GET /cdn/")).collect();
    assert_eq!(gets.len(), 2, "{log:?}");
    assert!(gets[1].contains("range=bytes=100000-"), "{log:?}");
}

#[test]
fn what_an_earlier_program_left_is_used_or_replaced() {
    let server = Server::start(files());
    for (left, range) in [
        (GGUF[..5000].to_vec(), Some("bytes=5000-")),
        (GGUF.to_vec(), None),               // whole, but not yet in its place
        (vec![1; GGUF.len() + 1], Some("")), // no beginning of it
    ] {
        let client = Client::new(&server.endpoint());
        let blobs = client.repo().join("blobs");
        std::fs::create_dir_all(&blobs).unwrap();
        std::fs::write(blobs.join(format!("{}.incomplete", server.etag("quantized/m q4.gguf"))), left)
            .unwrap();
        assert_eq!(client.fetch(FILE).unwrap(), only(GGUF));
        let log = server.take_log();
        let get = log.iter().find(|line| line.starts_with("GET /cdn/"));
        match range {
            None => assert_eq!(get, None),
            Some(range) => assert!(get.unwrap().contains(&format!("range={range}")), "{log:?}"),
        }
    }
}

#[test]
fn servers_that_do_not_keep_to_ranges_do_no_harm() {
    for fault in [Fault::IgnoreRange, Fault::WrongRange] {
        let server = Server::start(files());
        server.fail(Fault::BreakAfter(100_000));
        server.fail(fault);
        let client = Client::new(&server.endpoint());
        assert_eq!(client.fetch(FILE).unwrap(), only(GGUF), "{fault:?}");
    }
    let server = Server::start(files());
    server.fail(Fault::TooMuch);
    let client = Client::new(&server.endpoint());
    let error = client.fetch(FILE).unwrap_err();
    assert!(error.contains("more than the 700000 bytes"), "{error}");
    assert_eq!(client.fetch(FILE).unwrap(), only(GGUF), "nothing of it is kept");
}

#[test]
fn a_server_that_fails_for_a_moment_is_asked_again() {
    let server = Server::start(files());
    server.fail(Fault::BreakAfter(10));
    server.fail(Fault::Status(503));
    let client = Client::new(&server.endpoint());
    assert_eq!(client.fetch(FILE).unwrap(), only(GGUF));
}

#[test]
fn refusals_say_what_to_do() {
    let server = Server::start(files());
    let mut client = Client::new(&server.endpoint());
    let error = client.fetch("org/other").unwrap_err();
    assert!(
        error.contains("hf:org/other") && error.contains("404") && error.contains("check the name"),
        "{error}"
    );
    let error = client.fetch("org/name:missing.gguf").unwrap_err();
    assert!(error.contains("missing.gguf does not exist"), "{error}");

    server.require_token("secret");
    for name in ["org/name", FILE] {
        let error = client.fetch(name).unwrap_err();
        assert!(error.contains("401") && error.contains("set HF_TOKEN"), "{error}");
    }
    client.settings.token = Some("secret".to_owned());
    server.take_log();
    assert_eq!(client.fetch(FILE).unwrap(), only(GGUF));
    let log = server.take_log();
    assert!(log.iter().any(|line| line.starts_with("HEAD /org/name") && line.contains("Bearer secret")));
    let elsewhere = log.iter().find(|line| line.contains("/cdn/")).unwrap();
    assert!(!elsewhere.contains("secret"), "the token went to another server: {elsewhere}");
}

#[test]
fn without_the_hub_what_is_cached_runs_and_the_rest_says_so() {
    let server = Server::start(files());
    let mut client = Client::new(&server.endpoint());
    client.fetch(FILE).unwrap();
    // Nothing listens on a port that was just given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    client.settings.endpoint = Some(format!("http://127.0.0.1:{port}"));
    assert_eq!(client.fetch(FILE).unwrap(), only(GGUF));
    let error = client.fetch("org/name:other.gguf").unwrap_err();
    assert!(error.contains("cannot be reached") && error.contains("cache"), "{error}");
    client.settings.offline = true;
    let error = client.fetch("org/elsewhere").unwrap_err();
    assert!(error.contains("HF_HUB_OFFLINE is set"), "{error}");
}

#[test]
fn answers_that_lead_out_of_the_cache_are_refused() {
    let server = Server::start(files());
    let client = Client::new(&server.endpoint());
    server.lie_about_etags("../../../../escaped");
    let error = client.fetch(FILE).unwrap_err();
    assert!(error.contains("no identity"), "{error}");
    assert!(!Path::new(client.home.path()).join("escaped").exists());
}
