//! Metrics over HTTP on the daemon's own socket.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use serde_json::json;

use super::TestDaemon;

impl TestDaemon {
    /// What an HTTP client that sends `request` gets, head and body.
    pub(super) fn http(&self, request: &str) -> String {
        let mut stream = UnixStream::connect(self.folder.path().join("socket")).unwrap();
        // Whoever is refused early may find the socket closed.
        let _ = stream.write_all(request.as_bytes());
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    }
}

#[test]
fn metrics_are_served_in_both_formats() {
    let daemon = TestDaemon::start();
    let mut client = daemon.watch();
    let job = client.submit(&json!({}));
    client.job(job, "done");
    let text = daemon.http("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
    assert!(body.contains("slmscope_jobs_ended_total{state=\"done\"} 1\n"), "{body}");
    assert!(body.contains("slmscope_tokens_total{model=\"smollm2-135m\",phase=\"decode\"} 4\n"), "{body}");
    assert!(body.contains("slmscope_clients 1\n"), "who asks for metrics is no client: {body}");
    let accept = "Accept: application/openmetrics-text; version=1.0.0\r\n";
    let open = daemon.http(&format!("GET /metrics?x HTTP/1.1\r\n{accept}\r\n"));
    assert!(open.contains("Content-Type: application/openmetrics-text; version=1.0.0"), "{open}");
    assert!(open.ends_with("# EOF\n"));
}

#[test]
fn requests_that_are_no_reading_of_metrics_are_refused() {
    let daemon = TestDaemon::start();
    let long = format!("GET /metrics HTTP/1.1\r\nX: {}", "x".repeat(9000));
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "404 "),
        ("GET /metrics/../secret HTTP/1.1\r\n\r\n", "404 "),
        ("DELETE /metrics HTTP/1.1\r\n\r\n", "405 "),
        ("POST /metrics HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello", "405 "),
        ("GET /metrics\r\n\r\n", "400 "),
        ("GET /metrics HTTP/2.0\r\n\r\n", "505 "),
        (long.as_str(), "431 "),
    ] {
        let answer = daemon.http(request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {answer}");
    }
    let head = daemon.http("HEAD /metrics HTTP/1.1\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK") && head.ends_with("\r\n\r\n"), "{head}");
    assert_eq!(daemon.http("GET /metr"), "", "half a request has no answer");
    assert!(daemon.http("GETTING").contains("a request is one line of JSON"), "no method of HTTP");
}
