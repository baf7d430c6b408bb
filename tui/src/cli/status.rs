//! `slmscope status`: the running daemon.

use std::process::ExitCode;

use clap::Args;
use slmscope_profiles::display::{self, ABSENT, or_absent};
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
    let rows = [
        ("version", format!("{} (process {}, user {})", status.slmscope, status.pid, status.uid)),
        ("socket", status.socket.clone().unwrap_or_else(|| ABSENT.to_owned())),
        ("uptime", display::duration(status.uptime_ns)),
        ("CPU", format!("{} of one core on average (measured)", or_absent(share, display::share))),
        ("memory", format!("{} resident (measured)", or_absent(status.rss, display::bytes))),
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
