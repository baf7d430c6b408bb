//! Why two runs are not comparable.

use serde::Serialize;

use crate::result::RunResult;

/// Something that is not the same in both runs and decides about time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Obstacle {
    /// What: `model`, `format`, `threads` and so on.
    pub what: &'static str,
    /// In A; null where it is not known.
    pub a: Option<String>,
    /// In B.
    pub b: Option<String>,
}

/// All that keeps two runs from being compared; nothing if they measure the same thing on the same kind of machine.
pub fn obstacles(a: &RunResult, b: &RunResult) -> Vec<Obstacle> {
    let sides = |of: &dyn Fn(&RunResult) -> Option<String>| (of(a), of(b));
    let host = |of: fn(&crate::host::Host) -> Option<String>| {
        move |result: &RunResult| result.host.as_ref().and_then(of)
    };
    let both_known = |of: &dyn Fn(&RunResult) -> Option<String>| {
        let (a, b) = sides(of);
        if a.is_some() && b.is_some() { (a, b) } else { (None, None) }
    };
    let prompt = |result: &RunResult| Some(result.prompt_ids.len().to_string());
    let pairs = [
        ("model", sides(&|result| result.model.hash.clone().or_else(|| Some(result.model.id.clone())))),
        ("format", sides(&|result| result.model.format.map(|format| format.to_string()))),
        // Not known of recordings of earlier versions.
        ("board", both_known(&host(|host| host.board.clone()))),
        ("processor", sides(&host(|host| host.cpu_model.clone()))),
        ("logical CPUs", sides(&host(|host| Some(host.logical_cpus.to_string())))),
        ("threads", sides(&|result| result.engine.threads.map(|threads| threads.to_string()))),
        ("cores", sides(&|result| result.workload.cores.map(|cores| cores.to_string()))),
        ("executor", sides(&|result| Some(result.engine.executor.clone()))),
        ("instruction set", sides(&|result| result.engine.isa.clone())),
        ("KV cache", sides(&|result| result.workload.kv.map(|kv| kv.to_string()))),
        ("prompt", sides(&prompt)),
        ("generate", sides(&|result| Some(result.workload.generate.to_string()))),
        ("depth", sides(&|result| Some(result.workload.depth.to_string()))),
    ];
    pairs.into_iter().filter(|(_, (a, b))| a != b).map(|(what, (a, b))| Obstacle { what, a, b }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ModelSource;
    use crate::workload::Workload;

    #[test]
    fn what_differs_is_named_with_both_values() {
        let run = |threads| {
            let workload = Workload { threads: Some(threads), ..Workload::default() };
            RunResult::failed("m", ModelSource::Synthetic, &workload, "")
        };
        assert!(obstacles(&run(2), &run(2)).is_empty());
        // Two files of one name are two models.
        let mut weights = [run(2), run(2)];
        (weights[0].model.hash, weights[1].model.hash) = (Some("a1".to_owned()), Some("b2".to_owned()));
        assert_eq!(obstacles(&weights[0], &weights[1])[0].what, "model");
        let on = |board: Option<&str>| {
            let host = crate::host::Host { board: board.map(str::to_owned), ..Default::default() };
            RunResult { host: Some(host), ..run(2) }
        };
        assert_eq!(obstacles(&on(Some("Pi 4")), &on(Some("Pi 5")))[0].what, "board");
        assert!(obstacles(&on(None), &on(Some("Pi 5"))).is_empty(), "an earlier version did not say");
        let found = obstacles(&run(2), &run(4));
        let sides = (Some("2".to_owned()), Some("4".to_owned()));
        assert_eq!(found, [Obstacle { what: "threads", a: sides.0, b: sides.1 }]);
    }
}
