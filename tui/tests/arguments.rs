//! Exit codes and messages of the command line.

mod support;

use support::{Daemon, output, slmscope, text, tiny_model};

#[test]
fn every_command_has_help_and_help_lists_no_other() {
    let help = text(&output(&["--help"]).stdout);
    let commands =
        ["run", "submit", "models", "model", "doctor", "status", "jobs", "result", "cancel", "weights"];
    let of_sessions = ["record", "sessions", "diff", "replay", "export", "report"];
    let campaigns = ["compare", "sweep", "rerun", "depth"];
    for command in commands.into_iter().chain(of_sessions).chain(campaigns) {
        assert!(help.contains(command), "{command}");
        let one = output(&[command, "--help"]);
        assert!(one.status.success() && text(&one.stdout).contains("Usage:"), "{command}");
    }
    for missing in ["worker", "daemon", "    --trace"] {
        assert!(!help.contains(&format!("\n  {missing}")), "{missing}");
    }
}

#[test]
fn wrong_flags_end_with_exit_code_2() {
    for arguments in [
        &["run", "--nonsense"][..],
        &["run", "--threads", "0"],
        &["run", "--prompt", "0", "--generate", "0"],
        &["run", "--prompt", "0", "--generate", "0", "--depth", "64"],
        &["run", "--prompt", "5", "--prompt-text", "a"],
        &["run", "--prompt-text", ""],
        &["run", "--format", "q9_9"],
        &["run", "--repetitions", "0"],
        &["run", "--overhead-budget", "0"],
        &["run", "--overhead-budget", "101%"],
        &["run", "--overhead-budget", "little"],
        &["run", "--threads", "100000"],
        &["run", "--pause", "5"],
        &["run", "--ignore-eos"],
        &["run", "--private", "--detach"],
        &["--socket", "/run/slmscope.sock", "run", "--private"],
        &["submit", "--private"],
        &["run", "gone.gguf", "--format", "q4_0"],
        &["dance"],
        &["doctor", "--require", "mood"],
    ] {
        let ended = output(arguments);
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}: {}", text(&ended.stderr));
        assert!(ended.stdout.is_empty() && !ended.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn unusable_models_files_and_sockets_end_with_exit_code_1() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let whole = std::fs::read(tiny_model()).unwrap();
    let (empty, other) = (file("empty.gguf", b""), file("other.gguf", b"PK\x03\x04 not a model"));
    let cut = file("cut.gguf", &whole[..whole.len() / 2]);
    for (arguments, word) in [
        (&["run", "smolm2-135m"][..], "did you mean smollm2-135m"),
        (&["run", "gone.gguf"], "gone.gguf"),
        (&["run", folder.path().to_str().unwrap()], "directory"),
        (&["run", &empty], "empty"),
        (&["run", &other], "GGUF"),
        (&["run", &cut], "truncated"),
        (&["run", "tinyllama-1.1b", "--format", "f32", "--prompt", "8", "--timeout", "1"], "1 s"),
        (&["model", "nonesuch"], "nonesuch"),
        (&["models", "--family", "nonesuch"], "smollm2"),
        (&["models", "--family", "bloomz"], "did you mean bloom?"),
        (&["status"], "slmscoped"),
        (&["--socket", "/nonexistent/s.sock", "status"], "/nonexistent/s.sock"),
        (&["doctor", "--root", "/nonexistent"], "/nonexistent"),
    ] {
        let ended = output(arguments);
        let said = text(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains(word), "{arguments:?}: {said}");
    }
}

/// The same kind of mistake has the same exit code, and every message says what would be right.
#[test]
fn a_wrong_value_is_told_what_would_be_right() {
    for (arguments, says) in [
        (
            &["run", "--timeout", "0.1"][..],
            "'--timeout <SECONDS>': write a whole number from 0 to 4294967295",
        ),
        (&["run", "--timeout", "0"], "--timeout: 0 s is over before anything starts"),
        (&["run", "-t", "0"], "--threads: 0 threads"),
        (&["run", "-t", "99999"], "--threads: 99999 are more than 4 for each"),
        (&["run", "-t", "x"], "'--threads <N>': write a whole number"),
        (&["run", "--reps", "0"], "--repetitions: 0 repetitions"),
        (&["run", "-p", "-1"], "'-1'"),
        (&["run", "--seed", "18446744073709551616"], "write a whole number from 0 to 18446744073709551615"),
        (&["run", "--isa", "avx9"], "known: scalar, avx2"),
        (&["run", "--format", "q4_k_m"], "q4_k is the nearest"),
        (&["run", "--format", "q4"], "did you mean q4_1 or q4_0 or q4_k?"),
        (&["run", "--overhead-budget", "little"], "write it like 0.5% or 0.005"),
        (&["run", "--prompt-text", "a", "--executor", "candle", "--kv", "q8_0"], "--kv: candle keeps"),
        (&["run", "model.gguf", "--format", "q4_0"], "--format: q4_0 has no effect on a GGUF file"),
        (&["verify", "a", "--golden", "b", "--executor", "candle", "--kv", "q8_0"], "--kv: candle keeps"),
        (&["cancel", "abc"], "'<JOB>': write a whole number"),
        (&["models", "--sort", "mood"], "there is no column `mood`"),
        (&["doctor", "mood"], "the families are cpu"),
        (&["doctor", "batery"], "did you mean battery?"),
        (&["help", "mood"], "the topics are terms, roofs"),
        (&["help", "overhaed"], "did you mean overhead?"),
        (&["model.gguf", "--prompt", "x"], "'--prompt <TOKENS>': write a whole number"),
    ] {
        let ended = output(arguments);
        let said = text(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(says) && !said.contains("invalid digit"), "{arguments:?}: {said}");
        assert!(!said.contains("will wait"), "what is refused is not warned of first: {said}");
        assert!(ended.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_model_without_a_command_is_run_where_there_is_no_terminal() {
    let ended = output(&["model.gguf", "--prompt", "5"]);
    let said = text(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("there is no terminal for the dashboard; running once"), "{said}");
    assert!(said.contains("cannot open the model file model.gguf"), "{said}");
}

#[test]
fn a_prompt_file_that_is_too_long_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prompt.txt");
    std::fs::write(&path, "a".repeat((16 << 20) + 1)).unwrap();
    let ended = output(&["run", &tiny_model(), "--prompt-file", path.to_str().unwrap()]);
    let said = text(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("prompt.txt is longer than 16 MiB"), "{said}");
}

#[test]
fn a_prompt_is_read_from_standard_input() {
    let mut command = slmscope(&["run", &tiny_model(), "--prompt-file", "-"]);
    let piped = std::process::Stdio::piped;
    let mut child = command.stdin(piped()).stderr(piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"hello\xff").unwrap();
    let ended = child.wait_with_output().unwrap();
    let said = text(&ended.stderr);
    assert!(said.contains("standard input is no text: byte 5 is not UTF-8"), "{said}");
}

/// They used to be queued, and were refused after the weights were loaded.
#[test]
fn what_a_model_cannot_run_is_refused_by_its_flag_before_it_is_queued() {
    let daemon = Daemon::start();
    let tiny = tiny_model();
    for (arguments, word) in [
        (
            &["smollm2-135m", "--prompt", "999999"][..],
            "--prompt: depth 0 + prompt 999999 + generate 128 are longer",
        ),
        (&["smollm2-135m", "--prompt", "8000", "--generate", "500"], "8192"),
        (&["smollm2-135m", "--generate", "9000"], "--generate: "),
        (&["smollm2-135m", "--depth", "8192"], "--depth: "),
        (&["smollm2-135m", "--prompt-text", "hi"], "--prompt-text: smollm2-135m has no tokenizer"),
        (
            &["smollm2-135m", "--prompt-file", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")],
            "--prompt-file: smollm2-135m has no tokenizer",
        ),
        (&["smollm2-135m", "--chat", "hi"], "--chat: smollm2-135m has no tokenizer"),
        (&[&tiny, "--prompt", "999999"], "--prompt: "),
        (&[&tiny, "--prompt-text", "hi"], "--prompt-text: "),
        (&[&tiny, "--chat", "hi"], "has no tokenizer"),
    ] {
        for command in ["run", "submit"] {
            let ended = daemon.client(&[&[command], arguments].concat()).output().unwrap();
            let said = text(&ended.stderr);
            assert_eq!((ended.status.code(), said.contains(word)), (Some(2), true), "{arguments:?}: {said}");
        }
    }
    assert_eq!(text(&daemon.client(&["jobs"]).output().unwrap().stdout), "no jobs\n");
}

#[test]
fn a_model_that_does_not_fit_is_refused_before_it_is_loaded() {
    let ended = output(&["run", "llama-3.2-3b", "--format", "f32", "--prompt", "130000", "--generate", "0"]);
    // A machine with more than 40 GiB can run it; this test assumes less.
    let said = text(&ended.stderr);
    assert!(said.contains("of memory are available"), "{said}");
}

#[test]
fn a_refused_run_prints_no_object_and_an_accepted_one_always_does() {
    let refused = output(&["run", "gone.gguf", "--json"]);
    assert!(refused.stdout.is_empty());
    let broken = tempfile::Builder::new().suffix(".gguf").tempfile().unwrap();
    std::fs::write(broken.path(), "GGUF and nothing else").unwrap();
    let failed = output(&["run", &broken.path().display().to_string(), "--json"]);
    let result: serde_json::Value = serde_json::from_slice(&failed.stdout).unwrap();
    assert_eq!((failed.status.code(), result["status"].as_str()), (Some(1), Some("failed")));
    assert!(result["error"].as_str().unwrap().contains("GGUF"));
}

#[test]
fn models_are_listed_for_people_and_for_machines() {
    let listed: serde_json::Value = serde_json::from_slice(&output(&["models", "--json"]).stdout).unwrap();
    let models = listed["models"].as_array().unwrap();
    assert!(
        models.iter().any(|model| model["id"] == "smollm2-135m" && model["params"]["unique"] == 134_515_008)
    );
    let shown: serde_json::Value =
        serde_json::from_slice(&output(&["model", "smollm2-135m", "--json"]).stdout).unwrap();
    assert_eq!(shown["kv_bytes_per_token"]["f16"], 23_040);
    assert_eq!(shown["plan"].as_array().unwrap().len(), 363);
    assert!(text(&output(&["model", "gemma3-270m"]).stdout).contains("attn.qkv_proj"));
}

#[test]
fn models_are_filtered_by_family_size_attention_and_survey() {
    let ids = |arguments: &[&str]| -> Vec<String> {
        let all = [&["models", "--json"], arguments].concat();
        let listed: serde_json::Value = serde_json::from_slice(&output(&all).stdout).unwrap();
        let models = listed["models"].as_array().unwrap();
        models.iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&["--survey"]).len(), 80);
    assert_eq!(ids(&["--survey", "v1-table"]).len(), 59);
    assert_eq!(ids(&["--attention", "mla"]), ["minicpm3-4b"]);
    assert_eq!(ids(&["--attention", "recurrent"]), ["recurrentgemma-2b"]);
    assert_eq!(ids(&["--family", "qwen2", "--size", "1B..2B"]), ["qwen2-1.5b", "qwen2.5-1.5b"]);
    assert_eq!(output(&["models", "--size", "9B.."]).status.code(), Some(1));
    assert_eq!(output(&["models", "--size", "9"]).status.code(), Some(2));
    assert_eq!(output(&["models", "--attention", "none"]).status.code(), Some(2));
}

/// A figure that differs between layers is null, and `per_layer` lists it.
#[test]
fn a_model_shows_its_layers_memory_and_doubts() {
    let shown = |id: &str| -> serde_json::Value {
        serde_json::from_slice(&output(&["model", id, "--json"]).stdout).unwrap()
    };
    let openelm = shown("openelm-270m");
    assert!(openelm["q_heads"].is_null() && openelm["head_dim"] == 64);
    assert_eq!(openelm["per_layer"]["kv_heads"].as_array().unwrap().len(), 16);
    assert!(openelm["uncertain"].is_null() && shown("fox-1-1.6b")["uncertain"].is_string());
    let smollm = shown("smollm-135m");
    assert!(smollm["per_layer"].is_null());
    assert_eq!(smollm["paper_memory"]["kv_cache"], 45 << 20);
    assert_eq!(smollm["contexts"].as_array().unwrap().len(), 1);
    assert_eq!(shown("qwen1.5-0.5b")["params"]["stored"], 619_570_176);
    let griffin = text(&output(&["model", "recurrentgemma-2b"]).stdout);
    for expected in ["rec.scan", "attn.attention", "whatever the context", "the survey's", "differs"] {
        assert!(griffin.contains(expected), "{expected}");
    }
}

#[test]
fn a_pipe_that_is_closed_early_is_no_error() {
    let mut child = slmscope(&["models"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}
