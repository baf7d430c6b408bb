//! Flags whose effect is seen by running the program with and without them.
//!
//! The unit tests of the command line look here for every flag of every command, so a new one without a row fails
//! them; the test `flags` runs each row.
//!
//! Words in braces stand for what the test has prepared: `{new}` for a path where nothing is, `{old}` for a file that
//! exists, others for models, recordings and trees.

/// A flag, and how its effect is seen.
pub struct Row {
    /// The command, with its subcommand.
    pub command: &'static str,
    /// The flag or place, by its id.
    pub flag: &'static str,
    /// What follows the command without the flag, or with another value in its place.
    pub without: &'static [&'static str],
    /// The same with the flag.
    pub with: &'static [&'static str],
    /// What only the second prints, or the code that only it ends with.
    pub shows: &'static str,
}

const fn row(
    command: &'static str,
    flag: &'static str,
    without: &'static [&'static str],
    with: &'static [&'static str],
    shows: &'static str,
) -> Row {
    Row { command, flag, without, with, shows }
}

/// The rows; those that change what later ones see are last.
pub const ROWS: &[Row] = &[
    row(
        "",
        "socket",
        &["status", "--json"],
        &["--socket", "{socket}", "status", "--json"],
        "\"socket\":\"{socket}\"",
    ),
    row(
        "",
        "host",
        &["status", "--json"],
        &["--host", "board", "status", "--json"],
        "\"socket\":\"{socket}\"",
    ),
    row("proxy", "file", &[], &["--file", "{\"open_session\":{\"latest\":{}}}"], "\"bytes\":"),
    row(
        "run",
        "record",
        SHORT,
        &["{tiny}", "-p", "8", "-n", "5", "-r", "2", "--overhead", "off", "--record", "{new}"],
        "{new}: ",
    ),
    row(
        "run",
        "trace",
        SHORT,
        &["{tiny}", "-p", "8", "-n", "5", "-r", "2", "--overhead", "off", "--trace", "{new}.pftrace"],
        "{new}.pftrace: ",
    ),
    row(
        "run",
        "html",
        SHORT,
        &["{tiny}", "-p", "8", "-n", "5", "-r", "2", "--overhead", "off", "--html", "{new}"],
        "{new}: the report",
    ),
    row(
        "run",
        "force",
        &["{tiny}", "-p", "8", "-n", "5", "-r", "2", "--overhead", "off", "--record", "{old}"],
        &["{tiny}", "-p", "8", "-n", "5", "-r", "2", "--overhead", "off", "--record", "{old}", "--force"],
        "messages in",
    ),
    row(
        "verify",
        "model",
        &["{q8}", "--golden", "{golden}"],
        &["{tiny}", "--golden", "{golden}"],
        "exit code 0",
    ),
    row(
        "verify",
        "golden",
        &["{tiny}", "--golden", "{other}"],
        &["{tiny}", "--golden", "{golden}"],
        "exit code 0",
    ),
    row("verify", "kv", VERIFY, &["{tiny}", "--golden", "{golden}", "--kv", "f16"], "KV cache in f16"),
    row(
        "verify",
        "executor",
        VERIFY,
        &["{tiny}", "--golden", "{golden}", "--executor", "candle"],
        "by candle",
    ),
    row("verify", "threads", VERIFY, &["{tiny}", "--golden", "{golden}", "--threads", "3"], "3 threads"),
    row("verify", "json", VERIFY, &["{tiny}", "--golden", "{golden}", "--json"], JSON),
    row(
        "doctor",
        "groups",
        &["--root", "{tree}"],
        &["--root", "{tree}", "power"],
        "power.battery.BAT0.level",
    ),
    row("doctor", "root", &["--json"], &["--json", "--root", "{tree}"], "\"root\":\"{tree}\""),
    row("doctor", "bundle", &["--root", "{tree}"], &["--root", "{tree}", "--bundle", "{new}"], "{new}: "),
    row("doctor", "require", &["--root", "{tree}"], &["--root", "{tree}", "--require", "gpu"], "exit code 4"),
    row("doctor", "json", &["--root", "{tree}"], &["--root", "{tree}", "--json"], JSON),
    row("status", "json", &[], &["--json"], JSON),
    row("jobs", "json", &[], &["--json"], JSON),
    row("result", "which", &["99"], &["{job}"], "exit code 0"),
    row("result", "wait", &["{loop}"], &["{loop}", "--wait"], "runs in a loop until it is cancelled"),
    row("result", "full", &["{job}"], &["{job}", "--full"], "decode by module"),
    row("result", "json", &["{job}"], &["{job}", "--json"], JSON),
    row("record", "output", &["--seconds", "0"], &["{new}", "--seconds", "0"], "{new}: "),
    // Without it the recording would not end.
    row("record", "seconds", &["{old}"], &["{new}", "--seconds", "0"], "messages in"),
    row(
        "record",
        "force",
        &["{old}", "--seconds", "0"],
        &["{old}", "--seconds", "0", "--force"],
        "messages in",
    ),
    row("record", "last", &["{new}", "--seconds", "0"], &["{new}", "--last", "60s"], ", the last "),
    row("sessions list", "json", &[], &["--json"], JSON),
    row("sessions note", "session", &["99", "x"], &["1", "x"], "session 1: x"),
    row("sessions note", "text", &["1", "--pin"], &["1", "seen"], "seen"),
    row("sessions note", "name", &["1", "--tag", "a"], &["1", "--name", "base"], "base"),
    row("sessions note", "tag", &["1", "--name", "b"], &["1", "--tag", "ci"], "#ci"),
    row("sessions note", "pin", &["1", "--unpin"], &["1", "--pin"], "session 1: pinned"),
    row("sessions note", "unpin", &["1", "--pin"], &["1", "--unpin"], "session 1: b"),
    row("sessions rm", "older_than", &["--older-than", "9d"], &["--older-than", "0s"], "--yes removes them"),
    row("sessions rm", "sessions", &["99", "--yes"], &["1", "--yes"], "removed 1 session"),
    row("sessions rm", "yes", &["2"], &["2", "--yes"], "removed 1 session"),
    row("sessions rm", "all", &["--older-than", "9d", "--yes"], &["--all", "--yes"], "removed "),
    row("sessions info", "file", &["{old}"], &["{a}"], "op events in"),
    row("sessions info", "json", &["{a}"], &["{a}", "--json"], JSON),
    row("sessions info", "by", &["{a}"], &["{a}", "--by", "layer"], "outside of layers"),
    row("sessions verify", "files", &["{a}"], &["{cut}"], "exit code 4"),
    row(
        "sessions repair",
        "file",
        &["{old}", "--output", "{new}"],
        &["{a}", "--output", "{new}"],
        "exit code 0",
    ),
    row("sessions repair", "output", &["{a}"], &["{a}", "--output", "{new}"], "{new}: "),
    row(
        "sessions repair",
        "force",
        &["{a}", "--output", "{old}"],
        &["{a}", "--output", "{old}", "--force"],
        "messages in",
    ),
    row("replay", "session", &["{old}"], &["{a}"], "a replay needs a terminal"),
    row("diff", "before", &["{b}", "{b}"], &["{a}", "{b}"], "threads (1 and 2)"),
    row("diff", "after", &["{a}", "{a}"], &["{a}", "--", "{b}"], "threads (1 and 2)"),
    row(
        "diff",
        "margin",
        &["{a}", "{a}", "--json"],
        &["{a}", "{a}", "--json", "--margin", "37%"],
        "\"margin\":0.37",
    ),
    row("diff", "by", &["{a}", "{a}", "--by", "module"], &["{a}", "{a}", "--by", "name"], "attn.qkv_proj"),
    row("diff", "force", &["{a}", "{b}"], &["{a}", "{b}", "--force"], "not the same threads"),
    row("diff", "strict", &["{dirty}", "{dirty}"], &["{dirty}", "{dirty}", "--strict"], "exit code 3"),
    row("diff", "json", &["{a}", "{a}"], &["{a}", "{a}", "--json"], JSON),
    row("diff", "markdown", &["{a}", "{a}"], &["{a}", "{a}", "--markdown"], "| part | A µs/prompt token |"),
    row("diff", "html", &["{a}", "{a}"], &["{a}", "{a}", "--html", "{new}"], "{new}: the comparison"),
    row(
        "diff",
        "floor",
        &["{a}", "{a}", "--json"],
        &["--floor", "{a}", "{a}", "{a}", "--json"],
        "{\"schema\":\"slmscope.floors/1\"",
    ),
    row(
        "diff",
        "no_floor",
        &["{a}", "{a}", "--json"],
        &["{a}", "{a}", "--json", "--no-floor"],
        "\"floor_of\":null",
    ),
    row("compare", "sessions", &["{old}"], &["{a}"], "decode tok/s"),
    row("compare", "best", &["{a}", "{b}"], &["{a}", "{b}", "--best", "memory"], "Best by memory: "),
    row(
        "compare",
        "limits",
        &["{a}", "--best", "memory"],
        &["{a}", "--best", "memory", "--limit", "memory=1MiB"],
        "A is left out: memory ",
    ),
    row(
        "compare",
        "force",
        &["{a}", "{longer}", "--best", "decode"],
        &["{a}", "{longer}", "--best", "decode", "--force"],
        "Best by decode: ",
    ),
    row("compare", "json", &["{a}"], &["{a}", "--json"], JSON),
    row("compare", "html", &["{a}"], &["{a}", "--html", "{new}"], "{new}: the comparison"),
    row("compare", "markdown", &["{a}"], &["{a}", "--markdown"], "|---|--:|"),
    row("sweep", "what", &["llama-bench", "--dry-run"], &["survey", "--dry-run"], "as the survey of small"),
    row(
        "sweep",
        "axes",
        &["survey", "--dry-run"],
        &["survey", "--dry-run", "--axis", "threads=1..3"],
        "threads 3",
    ),
    row(
        "sweep",
        "order",
        &["depths", "--dry-run", "--json", "--order", "interleaved"],
        &["depths", "--dry-run", "--json", "--order", "random"],
        "\"order\":\"random\"",
    ),
    row(
        "sweep",
        "order_seed",
        &["depths", "--dry-run", "--json"],
        &["depths", "--dry-run", "--json", "--order-seed", "77"],
        "\"seed\":77",
    ),
    row("sweep", "rounds", &["survey", "--dry-run"], &["survey", "--dry-run", "--rounds", "3"], "3 runs"),
    row(
        "sweep",
        "pause",
        &["survey", "--dry-run", "--json"],
        &["survey", "--dry-run", "--json", "--pause", "77"],
        "\"pause\":77",
    ),
    row(
        "sweep",
        "cool_below",
        &["survey", "--dry-run", "--json"],
        &["survey", "--dry-run", "--json", "--cool-below", "55"],
        "\"cool_below\":55",
    ),
    row(
        "sweep",
        "cool_limit",
        &["survey", "--dry-run", "--json", "--cool-below", "55"],
        &["survey", "--dry-run", "--json", "--cool-below", "55", "--cool-limit", "77"],
        "\"cool_limit\":77",
    ),
    row("sweep", "output", SWEEP_OLD, SWEEP_NEW, "tables are in {new}"),
    row("sweep", "retry", SWEPT, RETRIED, "it did not run: "),
    row("sweep", "dry_run", &["survey", "--list"], &["survey", "--dry-run"], "1 point, 2 runs"),
    row("sweep", "list", &["survey", "--dry-run"], &["survey", "--list"], "first-token time"),
    row("sweep", "json", &["survey", "--dry-run"], &["survey", "--dry-run", "--json"], JSON),
    row("first-token", "session", &["{old}"], &["{a}"], " after the job was submitted"),
    row("first-token", "json", &["{a}"], &["{a}", "--json"], JSON),
    row("depth", "sessions", &["{old}"], &["{a}"], "stretches of 32 decode steps"),
    row("depth", "at", &["{deep}"], &["{deep}", "--at", "77"], "     77  "),
    row("depth", "json", &["{deep}"], &["{deep}", "--json"], JSON),
    row("rerun", "session", &["{old}", "--output", "{new}"], &["{a}", "--output", "{new}"], " ms a token"),
    row(
        "rerun",
        "model",
        &["{a}", "{old}", "--output", "{new}"],
        &["{a}", "{tiny}", "--output", "{new}"],
        " ms a token",
    ),
    row("rerun", "output", &["{a}"], &["{a}", "--output", "{new}"], "{new}: "),
    row(
        "rerun",
        "force",
        &["{a}", "--output", "{old}"],
        &["{a}", "--output", "{old}", "--force"],
        " ms a token",
    ),
    row("rerun", "json", &["{a}", "--output", "{new}"], &["{a}", "--output", "{new}", "--json"], JSON),
    row("report", "session", &["{old}"], &["{a}"], "tokens/s"),
    row("report", "html", &["{a}"], &["{a}", "--html", "{new}"], "{new}: the report"),
    row(
        "report",
        "force",
        &["{a}", "--html", "{old}"],
        &["{a}", "--html", "{old}", "--force"],
        "the report,",
    ),
    row("report", "full", &["{a}"], &["{a}", "--full"], "decode by module"),
    row("report", "json", &["{a}"], &["{a}", "--json"], JSON),
    row("export", "session", &["{old}", "--format", "csv"], &["{a}", "--format", "csv"], "job,run,phase"),
    row("export", "format", FOLDED, &["{a}", "--format", "csv"], "job,run,phase"),
    row("export", "output", FOLDED, &["{a}", "--format", "folded", "--output", "{new}"], "{new}: "),
    row(
        "export",
        "force",
        &["{a}", "--format", "csv", "-o", "{old}"],
        &["{a}", "--format", "csv", "-o", "{old}", "--force"],
        "op events of",
    ),
    row(
        "export",
        "table",
        &["{a}", "--format", "csv"],
        &["{a}", "--format", "csv", "--table", "ops"],
        "roof_share",
    ),
    row(
        "export",
        "by",
        &["{a}", "--format", "flamegraph"],
        &["{a}", "--format", "flamegraph", "--by", "bytes"],
        ": bytes",
    ),
    row(
        "export",
        "against",
        &["{a}", "--format", "flamegraph"],
        &["{a}", "--format", "flamegraph", "--against", "{b}"],
        " against ",
    ),
    row("export", "from", FOLDED, &["{a}", "--format", "folded", "--from", "1000"], NOTHING),
    row("export", "to", FOLDED, &["{a}", "--format", "folded", "--to", "0"], NOTHING),
    row("export", "phase", FOLDED, &["{a}", "--format", "folded", "--phase", "load"], NOTHING),
    row("export", "token", FOLDED, &["{a}", "--format", "folded", "--token", "4000000.."], NOTHING),
    row("export", "layer", FOLDED, &["{a}", "--format", "folded", "--layer", "0"], "(not selected)"),
    row("export", "module", FOLDED, &["{a}", "--format", "folded", "--module", "ffn"], "(not selected)"),
    row("export", "kind", FOLDED, &["{a}", "--format", "folded", "--kind", "norm"], "(not selected)"),
    row("help", "about", &[], &["gap"], "unattributed  time that no op"),
    row("completions", "shell", &["bash"], &["zsh"], "#compdef slmscope"),
    row("package-files", "folder", &[], &["{new}"], "{new}/man/man1/slmscope.1"),
    row("cancel", "job", &["99"], &["{job}"], "had ended already"),
    row("cancel", "no_wait", &["99"], &["{loop}", "--no-wait"], "it stops at its next token"),
];

/// Rows of `weights`, which a build without a daemon does not have.
pub const WEIGHTS: &[Row] = &[
    row(
        "weights",
        "model",
        &["smolm2-135m", "--output", "{old}"],
        &["pythia-160m", "--output", "{old}"],
        "exists",
    ),
    row(
        "weights",
        "output",
        &["pythia-160m"],
        &["pythia-160m", "--output", "/nowhere/m.gguf"],
        "/nowhere/m.gguf",
    ),
    row(
        "weights",
        "format",
        TO_OLD,
        &["pythia-160m", "--output", "{new}", "--format", "q2_k"],
        "tensors in q2_k",
    ),
    row("weights", "seed", TO_OLD, &["pythia-160m", "--output", "{new}", "--seed", "7"], "seed 7"),
    row("weights", "force", TO_OLD, &["pythia-160m", "--output", "{old}", "--force"], "tensors in"),
];

/// A run that takes a fraction of a second.
const SHORT: &[&str] = &["{tiny}", "-p", "8", "-n", "5", "-r", "2", "--overhead", "off"];
const SWEEP_OLD: &[&str] =
    &["{tiny}", "--axis", "prompt=8", "--axis", "generate=5", "--axis", "repetitions=2", "--output", "{old}"];
const SWEEP_NEW: &[&str] =
    &["{tiny}", "--axis", "prompt=8", "--axis", "generate=5", "--axis", "repetitions=2", "--output", "{new}"];
/// A sweep whose only run has failed before.
const SWEPT: &[&str] = &["{tiny}", "--axis", "depth=99999", "--output", "{swept}"];
const RETRIED: &[&str] = &["{tiny}", "--axis", "depth=99999", "--output", "{swept}", "--retry"];
const VERIFY: &[&str] = &["{tiny}", "--golden", "{golden}", "--threads", "1"];
const FOLDED: &[&str] = &["{a}", "--format", "folded"];
const NOTHING: &str = "no token or chunk is selected";
const TO_OLD: &[&str] = &["pythia-160m", "--output", "{old}"];
/// Where a JSON document begins.
const JSON: &str = "{\"schema\":";
