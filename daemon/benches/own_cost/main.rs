//! What recorder, probes, server, a recording into a file and a client cost together: `cargo bench -p slmscope-daemon --bench own_cost --
//! [pairs=N] [seconds=S] [model=ID or FILE.gguf]`; ends with an error above 1 % of decode.
//!
//! Stretches of 5 s alternate, everything on and everything off, 20 pairs. A pair in which others had more than
//! 2 % of the machine is left out and counted. The cost is the median of off / on − 1 with its 95 % interval
//! (below 6 pairs, their range).

#![allow(clippy::print_stdout, reason = "a program for developers")]

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use slmscope_daemon::commands::{self, WorkerArgs};
use slmscope_profiles::stats::Estimate;

mod stretch;

use stretch::OwnCost;

const BAR: f64 = 0.01;
const DISTURBED: f64 = 0.02;

/// The parts of the product that run in processes of their own.
#[derive(Parser)]
struct Role {
    #[command(subcommand)]
    role: Process,
}

#[derive(Subcommand)]
enum Process {
    Worker(WorkerArgs),
    Client,
}

fn main() -> anyhow::Result<ExitCode> {
    if std::env::args().nth(1).is_some_and(|word| word == "worker" || word == stretch::CLIENT) {
        match Role::parse().role {
            Process::Worker(args) => commands::worker(&args)?,
            Process::Client => stretch::client()?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    let (mut pairs, mut seconds, mut model) = (20_usize, 5.0, "smollm2-135m".to_owned());
    for argument in std::env::args().skip(1).filter(|argument| argument != "--bench") {
        let (name, value) = argument.split_once('=').context("arguments are NAME=VALUE")?;
        match name {
            "pairs" => pairs = value.parse().context("pairs")?,
            "seconds" => seconds = value.parse().context("seconds")?,
            "model" => value.clone_into(&mut model),
            _ => anyhow::bail!("unknown option `{name}`; known: pairs, seconds, model"),
        }
    }
    let mut bench = OwnCost::start(&model, Duration::try_from_secs_f64(seconds)?)?;
    let (mut costs, mut dropped) = (Vec::new(), 0);
    while costs.len() < pairs && dropped <= pairs {
        let pair = bench.pair((costs.len() + dropped).is_multiple_of(2))?;
        let (cost, is_disturbed) = (pair.off / pair.on - 1.0, pair.disturbed > DISTURBED);
        println!(
            "on {:.1}, off {:.1} tokens/s: {:.2} %; others {:.1} %{}",
            pair.on,
            pair.off,
            cost * 100.0,
            pair.disturbed * 100.0,
            if is_disturbed { ", dropped" } else { "" }
        );
        if is_disturbed { dropped += 1 } else { costs.push(cost) }
    }
    let found = Estimate::of(&costs).context("every pair was disturbed")?;
    println!(
        "everything on costs {:.2} % of decode ({:.2} to {:.2}), at most {:.0} %; {} pairs, {dropped} dropped; {model}",
        found.median * 100.0,
        found.low * 100.0,
        found.high * 100.0,
        BAR * 100.0,
        costs.len()
    );
    Ok(if found.median <= BAR { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
