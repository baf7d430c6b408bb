//! `slmscope status`: the running daemon.

use std::process::ExitCode;

use clap::Args;
use slmscope_profiles::display::{self, ABSENT};
use slmscope_profiles::status::Status;
use slmscope_profiles::wire::Method;

use super::jobs::{Now, table};
use crate::client::Connection;
use crate::connect::{self, Target};
use crate::failure::{Failure, print, print_json};
use crate::style::Style;

/// Options of `status` and `jobs`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl StatusArgs {
    /// Whether JSON is asked for.
    pub fn json(&self) -> bool {
        self.json
    }
}

/// A connection to the running daemon.
///
/// # Errors
/// If none is running.
pub fn daemon(target: &Target) -> Result<Connection, Failure> {
    connect::running(target)?.ok_or_else(|| {
        Failure::error("no daemon is running; start one with `slmscoped`, or give its socket with --socket")
    })
}

fn ask(target: &Target) -> Result<Status, Failure> {
    let answer = daemon(target)?.call(Method::Status {}, &[])??;
    serde_json::from_value(answer)
        .map_err(|error| Failure::error(format!("the daemon's status cannot be read: {error}")))
}

/// A figure, or why there is none.
fn told(figure: Option<String>, why_none: &str) -> String {
    figure.unwrap_or_else(|| format!("{ABSENT} {why_none}"))
}

/// Prints the daemon's own figures and its jobs.
///
/// # Errors
/// If no daemon is running.
pub fn status(args: &StatusArgs, target: &Target) -> Result<ExitCode, Failure> {
    let status = ask(target)?;
    if args.json {
        print_json(&status)?;
        return Ok(ExitCode::SUCCESS);
    }
    let style = Style::of_stdout();
    let share = status.cpu_ns.filter(|_| status.uptime_ns > 0).map(|ns| ns as f64 / status.uptime_ns as f64);
    let of_one_core = |share| format!("{} of one core on average (measured)", display::share(share));
    let resident = |bytes| format!("{} resident (measured)", display::bytes(bytes));
    let rows = [
        ("version", format!("{} (process {}, user {})", status.slmscope, status.pid, status.uid)),
        ("socket", told(status.socket.clone(), "it was handed to the daemon without a path")),
        ("uptime", display::duration(status.uptime_ns)),
        ("CPU", told(share.map(of_one_core), "the kernel does not tell the daemon's CPU time")),
        ("memory", told(status.rss.map(resident), "the kernel does not tell the daemon's memory")),
        ("clients", status.clients.to_string()),
        ("channels", format!("{}, {} late readings", status.channels, status.late_ticks)),
        (
            "op batches",
            format!("{} lost, {} dropped for slow clients", status.lost_batches, status.dropped_batches),
        ),
    ];
    let mut text = String::new();
    for (name, value) in rows {
        text.push_str(&format!("{} {value}\n", style.dim(&format!("{name:<11}"))));
    }
    text.push_str(&table(&status.jobs, &[], Now::read(), style));
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}
