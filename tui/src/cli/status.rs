//! `slmscope status`, `jobs` and `cancel`: the running daemon and its jobs.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use slmscope_profiles::display::{self, ABSENT, or_absent};
use slmscope_profiles::job::{Job, JobId};
use slmscope_profiles::status::Status;
use slmscope_profiles::wire::Method;

use super::number;
use crate::client::Connection;
use crate::connect::{self, Target};
use crate::failure::{Failure, print, print_json};
use crate::style::Style;
use crate::table::{Align, Table};

/// Options of `status` and `jobs`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Options of `cancel`.
#[derive(Debug, Args)]
pub struct CancelArgs {
    /// Number of the job, as `slmscope jobs` lists it
    #[arg(value_parser = number::long)]
    job: JobId,
}

fn daemon(target: &Target) -> Result<Connection, Failure> {
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
    text.push_str(&table(&status.jobs, style));
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Lists the daemon's jobs.
///
/// # Errors
/// If no daemon is running.
pub fn jobs(args: &StatusArgs, target: &Target) -> Result<ExitCode, Failure> {
    #[derive(Serialize)]
    struct Jobs {
        schema: &'static str,
        jobs: Vec<Job>,
    }
    let jobs = ask(target)?.jobs;
    if args.json {
        print_json(&Jobs { schema: "slmscope.jobs/1", jobs })?;
    } else {
        print(&table(&jobs, Style::of_stdout()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Cancels a job.
///
/// # Errors
/// If there is no such job, or it belongs to another user.
pub fn cancel(args: &CancelArgs, target: &Target) -> Result<ExitCode, Failure> {
    let ask = Method::Cancel { job: args.job };
    daemon(target)?.call(ask, &[])??;
    Ok(ExitCode::SUCCESS)
}

fn table(jobs: &[Job], style: Style) -> String {
    if jobs.is_empty() {
        return "no jobs\n".to_owned();
    }
    let mut table = Table::new(&[
        ("job", Align::Right),
        ("state", Align::Left),
        ("model", Align::Left),
        ("workload", Align::Left),
        ("user", Align::Right),
        ("", Align::Left),
    ]);
    for job in jobs {
        let workload = &job.workload;
        let prompt = if workload.has_text() { "text".to_owned() } else { workload.prompt.to_string() };
        table.row([
            job.job.to_string(),
            job.state.as_str().to_owned(),
            job.model.clone(),
            format!("prompt {prompt}, generate {}", workload.generate),
            job.uid.to_string(),
            job.error.clone().unwrap_or_default(),
        ]);
    }
    table.render(style)
}
