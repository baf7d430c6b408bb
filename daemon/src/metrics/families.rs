//! The families that a daemon serves.

use slmscope_profiles::metrics::Family;

pub(super) const BUILD: Family =
    Family::gauge("slmscope_build_info", None, "1; the version of the daemon is a label.");
pub(super) const STARTED: Family = Family::gauge(
    "slmscope_daemon_start_time_seconds",
    Some("seconds"),
    "When the daemon started, seconds since 1970.",
);
pub(super) const OWN_CPU: Family = Family::counter(
    "slmscope_daemon_cpu_seconds",
    Some("seconds"),
    "CPU time of the daemon, without its worker.",
);
pub(super) const OWN_MEMORY: Family = Family::gauge(
    "slmscope_daemon_memory_bytes",
    Some("bytes"),
    "Resident memory of the daemon, without its worker.",
);
pub(super) const CLIENTS: Family = Family::gauge("slmscope_clients", None, "Connected clients.");
pub(super) const LATE: Family =
    Family::counter("slmscope_late_readings", None, "Rounds of readings that began late.");
pub(super) const LOST: Family = Family::counter(
    "slmscope_lost_batches",
    None,
    "Tokens whose op events were lost between engine and daemon.",
);
pub(super) const DROPPED: Family = Family::counter(
    "slmscope_dropped_batches",
    None,
    "Tokens whose op events were dropped for clients that read too slowly.",
);
pub(super) const JOBS: Family = Family::gauge("slmscope_jobs", None, "Jobs that wait, and that run.");
pub(super) const JOBS_ENDED: Family =
    Family::counter("slmscope_jobs_ended", None, "Jobs that ended, by how.");
pub(super) const SCHEDULED: Family = Family::counter(
    "slmscope_scheduled_runs",
    None,
    "Times that an entry of the schedule was due: run, or skipped since its conditions did not hold, or refused.",
);
pub(super) const PHASE_TIME: Family = Family::counter(
    "slmscope_phase_time_seconds",
    Some("seconds"),
    "Wall time of tokens and of chunks of the prompt; tokens divided by it are tokens per second.",
);
pub(super) const LATENCY: Family =
    Family::histogram("slmscope_token_latency_seconds", "Wall time of each token of decode.");
pub(super) const JOB_ENERGY: Family = Family::counter(
    "slmscope_job_energy_joules",
    Some("joules"),
    "Energy of the measured phases of jobs, as their results have it.",
);
pub(super) const JOB_ENERGY_TOKENS: Family = Family::counter(
    "slmscope_job_energy_tokens",
    None,
    "Tokens of those phases: energy divided by them is energy per token.",
);
pub(super) const SENSOR_UP: Family =
    Family::gauge("slmscope_sensor_up", None, "1 if the sensor has a value now, 0 if it has none.");

/// Names of all samples that a daemon may serve, on any machine.
#[cfg(test)]
pub(crate) fn all_sample_names() -> std::collections::BTreeSet<String> {
    use slmscope_profiles::channel::{Quantity, Unit};
    use slmscope_profiles::metrics::{OP_TIME, TOKENS};

    let own = [
        BUILD,
        STARTED,
        OWN_CPU,
        OWN_MEMORY,
        CLIENTS,
        LATE,
        LOST,
        DROPPED,
        JOBS,
        JOBS_ENDED,
        SCHEDULED,
        TOKENS,
        PHASE_TIME,
        OP_TIME,
        LATENCY,
        JOB_ENERGY,
        JOB_ENERGY_TOKENS,
        SENSOR_UP,
    ];
    // What probes enter, by quantity.
    let of_channels = [
        (Quantity::Cpu, Unit::Count, false),
        (Quantity::Cpu, Unit::Seconds, true),
        (Quantity::Frequency, Unit::Hertz, false),
        (Quantity::Memory, Unit::Bytes, false),
        (Quantity::Memory, Unit::Count, true),
        (Quantity::MemoryBandwidth, Unit::Bytes, true),
        (Quantity::Energy, Unit::Joules, true),
        (Quantity::Power, Unit::Watts, false),
        (Quantity::Power, Unit::Ratio, false),
        (Quantity::Temperature, Unit::Celsius, false),
        (Quantity::Fan, Unit::Rpm, false),
        (Quantity::Throttle, Unit::Count, true),
        (Quantity::Throttle, Unit::Count, false),
        (Quantity::Throttle, Unit::Seconds, true),
        (Quantity::Pressure, Unit::Seconds, true),
        (Quantity::Gpu, Unit::Ratio, false),
        (Quantity::Gpu, Unit::Bytes, false),
        (Quantity::Npu, Unit::Ratio, false),
    ];
    let of_channels =
        of_channels.map(|(quantity, unit, is_counter)| Family::of_quantity(quantity, unit, is_counter));
    own.iter().chain(&of_channels).flat_map(Family::sample_names).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Words of a text that name metrics.
    fn names(text: &str) -> BTreeSet<&str> {
        let words =
            text.split(|letter: char| !letter.is_ascii_alphanumeric() && !matches!(letter, '_' | ':'));
        words.filter(|word| word.starts_with("slmscope_")).collect()
    }

    #[test]
    fn dashboard_and_rules_use_only_metrics_that_are_served() {
        let known = all_sample_names();
        for (file, text, least) in [
            ("grafana.json", include_str!("../../../systemd/observe/grafana.json"), 15),
            ("slmscope.rules.yml", include_str!("../../../systemd/observe/slmscope.rules.yml"), 6),
            ("slmscope.rules.test.yml", include_str!("../../../systemd/observe/slmscope.rules.test.yml"), 6),
        ] {
            let used = names(text);
            assert!(used.len() >= least, "{file}: {used:?}");
            let unknown: Vec<_> = used.iter().filter(|name| !known.contains(**name)).collect();
            assert!(unknown.is_empty(), "{file} uses {unknown:?}, which nobody serves");
        }
    }

    #[test]
    fn every_panel_of_the_dashboard_asks_the_chosen_data_source() {
        let dashboard = include_str!("../../../systemd/observe/grafana.json");
        let dashboard: serde_json::Value = serde_json::from_str(dashboard).unwrap();
        let panels = dashboard["panels"].as_array().unwrap();
        assert!(panels.len() >= 10);
        for panel in panels {
            for target in panel["targets"].as_array().unwrap() {
                assert_eq!(target["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
                assert!(!target["expr"].as_str().unwrap().is_empty());
            }
        }
        assert_eq!(dashboard["uid"], serde_json::Value::Null, "whoever imports it gives it one");
    }
}
