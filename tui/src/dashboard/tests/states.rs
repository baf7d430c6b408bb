//! What `update` makes of messages.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use slmscope_profiles::channel::{Channel, Kind, Quantity, ReasonCode, Sample, Scope, Unit, Value};
use slmscope_profiles::host::Host;
use slmscope_profiles::job::JobState;
use slmscope_profiles::op::Phase;
use slmscope_profiles::record::{Header, Record};
use slmscope_profiles::span::{NamedSpan, SpanName};
use slmscope_profiles::totals::{OpTotals, SiteTotals};
use slmscope_profiles::wire::{ErrorCode, Method, Outcome, Reply, Talk, WireError};

use super::super::channels::Track;
use super::super::screens::live::parts::{Part, parts};
use super::super::screens::ops::rows::{Level, Row, rows};
use super::super::state::{Link, State};
use super::super::tab::Tab;
use super::super::update::update;
use super::super::{Effect, Msg};
use super::fixture::{
    busy, catalogue, channel, connected, frame, hello, job, letters, plan, press, sample, summary,
};

fn ops(state: &State) -> Vec<Row> {
    let data = state.shown();
    rows(data, &state.ops)
}

fn sent<'a>(effects: &'a [Effect]) -> Vec<&'a Method> {
    let method = |effect: &'a Effect| match effect {
        Effect::Send(request) => Some(&request.method),
        _ => None,
    };
    effects.iter().filter_map(method).collect()
}

#[test]
fn a_connection_is_subscribed_to() {
    let mut state = State::new(super::fixture::options());
    let effects = update(&mut state, Msg::Connected { hello: hello() });
    assert!(matches!(sent(&effects)[..], [Method::Subscribe(_), Method::Status {}]));
}

#[test]
fn summaries_add_up_and_shares_close() {
    let mut state = busy();
    let decode = &state.shown().totals.decode;
    assert_eq!((decode.rows, decode.books.wall_ns), (200, 2_000_000_000));
    assert_eq!(decode.whole().rows_per_second(), Some(100.0));
    let percentiles = state.shown().totals.percentiles();
    assert_eq!(percentiles, Some(([10_000_000, 10_500_000, 10_500_000], 200)));
    for expand in [false, true] {
        if expand {
            press(&mut state, KeyCode::Char('2'));
            letters(&mut state, "m");
        }
        let rows = ops(&state);
        let sum: u64 = rows.iter().filter(|row| row.level != Level::Total).map(Row::time_ns).sum();
        assert_eq!(sum, 2_000_000_000);
        let share: f64 = rows.iter().filter(|row| row.level != Level::Total).filter_map(Row::share).sum();
        assert!((share - 1.0).abs() < 1e-9, "{share}");
        assert_eq!(rows.last().and_then(Row::share), Some(1.0));
    }
    let parts = parts(state.shown().plan.as_ref(), &state.shown().totals.decode);
    assert_eq!(parts.iter().map(Part::ns).sum::<u64>(), 2_000_000_000);
}

#[test]
fn rows_open_into_layers() {
    let mut state = busy();
    press(&mut state, KeyCode::Char('2'));
    let first = ops(&state)[0].clone();
    assert_eq!(
        (first.name.as_str(), first.count(), first.max_ns()),
        ("attn.qkv_proj", Some(400), Some(4_000_000))
    );
    assert_eq!(first.time_per_token(), Some(4_000_000));
    press(&mut state, KeyCode::Enter);
    let rows = ops(&state);
    assert_eq!(rows[1].name, "layer 0");
    assert_eq!(rows[1].time_ns() + rows[2].time_ns(), first.time_ns());
    press(&mut state, KeyCode::Enter);
    assert_eq!(ops(&state)[1].level, Level::Op);
    letters(&mut state, "m");
    press(&mut state, KeyCode::Home);
    press(&mut state, KeyCode::Enter);
    let rows = ops(&state);
    assert_eq!((rows[0].level, rows[1].level), (Level::Module, Level::Op));
}

#[test]
fn a_filter_keeps_the_denominator() {
    let mut state = busy();
    letters(&mut state, "2/QKV");
    press(&mut state, KeyCode::Enter);
    let rows = ops(&state);
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].share(), Some(0.4));
    assert!(rows[1].name.contains("40.0 %"), "{}", rows[1].name);
    press(&mut state, KeyCode::Esc);
    assert!(ops(&state).len() > 5);
}

#[test]
fn letters_go_into_the_filter_and_not_to_actions() {
    let mut state = busy();
    letters(&mut state, "2/");
    assert!(press(&mut state, KeyCode::Char('q')).is_empty());
    press(&mut state, KeyCode::Backspace);
    letters(&mut state, "r");
    assert_eq!(state.ops.list.filter, "r");
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(update(&mut state, Msg::Input(Event::Key(interrupt))), [Effect::Quit]);
}

#[test]
fn pause_freezes_what_is_shown_while_data_goes_on() {
    let mut state = busy();
    press(&mut state, KeyCode::Char(' '));
    state.take_dirty();
    frame(&mut state, summary(Phase::Decode));
    update(&mut state, Msg::Tick { now_ns: 99_000_000_000 });
    assert!(!state.is_dirty());
    assert_eq!(state.shown().totals.decode.rows, 200);
    press(&mut state, KeyCode::Char(' '));
    assert_eq!(state.shown().totals.decode.rows, 210);
}

#[test]
fn rates_come_from_counters() {
    let state = busy();
    let power = state.shown().channels.power().and_then(Track::value);
    assert_eq!(power, Some(12.5));
}

/// The doctor's tests have the same readings and the same answers.
#[test]
fn a_busy_cpu_is_not_shown_as_101_percent() {
    let mut state = busy();
    let mut channels = catalogue();
    channels.push(Channel {
        kind: Kind::Counter { range: None },
        ..channel(7, "cpu.machine.time", Quantity::Cpu, Unit::Seconds, Scope::Machine)
    });
    channels.push(Channel {
        kind: Kind::Rate { of: 7 },
        ..channel(8, "cpu.machine", Quantity::Cpu, Unit::Ratio, Scope::Machine)
    });
    frame(&mut state, Record::Catalogue { channels });
    for (t_ns, seconds) in [(20_000_000_000, 5.0), (20_250_000_000, 5.253)] {
        let sample = Sample { t_ns, values: vec![(7, Value::Present(seconds))], ..Sample::default() };
        frame(&mut state, Record::Sample(sample));
    }
    assert_eq!(state.shown().channels.by_id("cpu.machine").unwrap().value(), Some(1.0));
}

/// The doctor's tests have the same readings and the same answers.
#[test]
fn an_energy_counter_that_did_not_move_is_shown_as_stale_and_not_as_0_watts() {
    let mut state = busy();
    let mut channels = catalogue();
    channels.push(Channel {
        kind: Kind::Counter { range: None },
        ..channel(7, "energy.dram", Quantity::Energy, Unit::Joules, Scope::Dram)
    });
    channels.push(Channel {
        kind: Kind::Rate { of: 7 },
        ..channel(8, "power.dram", Quantity::Power, Unit::Watts, Scope::Dram)
    });
    frame(&mut state, Record::Catalogue { channels });
    for t_ns in [20_000_000_000, 20_250_000_000] {
        let sample = Sample { t_ns, values: vec![(7, Value::Present(7.0))], ..Sample::default() };
        frame(&mut state, Record::Sample(sample));
    }
    let dram = state.shown().channels.by_id("power.dram").unwrap();
    assert_eq!((dram.value(), dram.absent), (None, Some(ReasonCode::Stale)));
}

#[test]
fn the_total_of_the_board_is_the_power_that_is_shown() {
    let mut state = busy();
    let mut channels = catalogue();
    // Of a narrower scope than the package, and still what the probes chose.
    channels.push(channel(7, "power.board", Quantity::Power, Unit::Watts, Scope::Battery));
    frame(&mut state, Record::Catalogue { channels });
    let values = vec![(7, Value::Present(21.0))];
    let next = Sample {
        t_ns: 20_000_000_000,
        cost_ns: 4_200,
        update_ns: Some(70_000_000),
        values,
        ..Sample::default()
    };
    frame(&mut state, Record::Sample(next));
    let power = state.shown().channels.power().unwrap();
    assert_eq!((power.channel.id.as_str(), power.value()), ("power.board", Some(21.0)));
    assert_eq!((power.cost_ns, power.channel.update_ns), (Some(4_200), Some(70_000_000)));
}

#[test]
fn each_channel_of_a_sample_shows_the_period_of_its_own_sensor() {
    let mut state = busy();
    let mut channels = catalogue();
    let counter = Kind::Counter { range: None };
    channels.push(channel(7, "power.fast", Quantity::Power, Unit::Watts, Scope::Machine));
    channels.push(Channel {
        kind: counter,
        ..channel(8, "energy.slow", Quantity::Energy, Unit::Joules, Scope::Machine)
    });
    channels.push(Channel {
        kind: Kind::Rate { of: 8 },
        ..channel(9, "power.slow", Quantity::Power, Unit::Watts, Scope::Machine)
    });
    channels.push(channel(10, "power.constant", Quantity::Power, Unit::Watts, Scope::Machine));
    frame(&mut state, Record::Catalogue { channels });
    let sample = Sample {
        t_ns: 20_000_000_000,
        update_ns: Some(1_000_000),
        other_update_ns: vec![(8, Some(70_000_000)), (10, None)],
        values: [7, 8, 10].map(|id| (id, Value::Present(2.0))).to_vec(),
        ..Sample::default()
    };
    frame(&mut state, Record::Sample(sample));
    let of = |id| state.shown().channels.by_id(id).unwrap().channel.update_ns;
    let ids = ["power.fast", "energy.slow", "power.slow", "power.constant"];
    assert_eq!(ids.map(of), [Some(1_000_000), Some(70_000_000), Some(70_000_000), None]);
}

#[test]
fn a_monitor_in_a_battery_s_lead_is_not_the_power_that_is_shown() {
    let mut state = busy();
    let mut channels = catalogue();
    channels.push(channel(7, "power.rail.ina219", Quantity::Power, Unit::Watts, Scope::Battery));
    frame(&mut state, Record::Catalogue { channels });
    let values = vec![(7, Value::Present(9.0))];
    frame(&mut state, Record::Sample(Sample { t_ns: 20_000_000_000, values, ..Sample::default() }));
    assert_eq!(state.shown().channels.power().unwrap().channel.id, "power.package-0");
}

#[test]
fn what_goes_into_a_battery_is_not_the_power_that_is_shown() {
    let mut state = busy();
    let mut channels = catalogue();
    channels.push(channel(7, "power.board", Quantity::Power, Unit::Watts, Scope::Battery));
    frame(&mut state, Record::Catalogue { channels });
    let mut shown = |t: u64, watts: f64| {
        let values = vec![(7, Value::Present(watts))];
        let sample = Sample { t_ns: t * 1_000_000_000, values, ..Sample::default() };
        frame(&mut state, Record::Sample(sample));
        state.shown().channels.power().unwrap().channel.id.clone()
    };
    assert_eq!(shown(20, 9.0), "power.board");
    assert_eq!(shown(21, -14.0), "power.package-0");
}

#[test]
fn a_drive_is_hotter_and_not_what_is_shown() {
    let mut state = busy();
    let mut channels = catalogue();
    let drive = channel(7, "temp.nvme_Composite", Quantity::Temperature, Unit::Celsius, Scope::Machine);
    channels.push(drive);
    frame(&mut state, Record::Catalogue { channels });
    let mut hottest = |t: u64, package: Value| {
        let values = vec![(4, package), (7, Value::Present(80.0))];
        let sample = Sample { t_ns: t * 1_000_000_000, values, ..Sample::default() };
        frame(&mut state, Record::Sample(sample));
        state.shown().channels.hottest().and_then(Track::value)
    };
    assert_eq!(hottest(20, Value::Present(54.0)), Some(54.0));
    assert_eq!(hottest(21, Value::Absent(ReasonCode::ReadError)), Some(80.0), "nothing else tells");
}

#[test]
fn a_sum_is_told_while_all_of_its_parts_are() {
    let mut state = busy();
    let mut channels = catalogue();
    channels.push(channel(7, "gpu0.power", Quantity::Power, Unit::Watts, Scope::Gpu));
    channels.push(Channel {
        kind: Kind::Sum { of: vec![2, 7] },
        ..channel(8, "power.board", Quantity::Power, Unit::Watts, Scope::Rail("package+gpu".to_owned()))
    });
    frame(&mut state, Record::Catalogue { channels });
    let mut card = |t: u64, value: Value| {
        let sample = Sample { t_ns: t * 1_000_000_000, values: vec![(7, value)], ..Sample::default() };
        frame(&mut state, Record::Sample(sample));
        let channels = &state.shown().channels;
        let shown = channels.power().unwrap();
        (shown.channel.id.clone(), shown.value(), channels.by_id("power.board").unwrap().absent)
    };
    let board = "power.board".to_owned();
    assert_eq!(card(10, Value::Present(40.0)), (board, Some(52.5), None));
    let asleep = ReasonCode::GatedOrAsleep;
    let package = "power.package-0".to_owned();
    assert_eq!(card(11, Value::Absent(asleep)), (package.clone(), Some(12.5), Some(asleep)));
    let stale = ReasonCode::Stale;
    assert_eq!(card(60, Value::Present(40.0)), (package, Some(12.5), Some(stale)), "the counter is old");
}

#[test]
fn a_lost_connection_leaves_a_gap_and_history_stays() {
    let mut state = busy();
    update(&mut state, Msg::Disconnected { reason: "daemon ended".to_owned() });
    update(&mut state, Msg::Disconnected { reason: "no such file".to_owned() });
    assert!(matches!(&state.link, Link::Down { reason } if reason == "no such file"));
    update(&mut state, Msg::Connected { hello: hello() });
    // The next daemon numbers its channels in another way.
    let mut channels = catalogue();
    let shift = |number: u16| number + 100;
    for channel in &mut channels {
        channel.channel = shift(channel.channel);
        if let Kind::Rate { of } = &mut channel.kind {
            *of = shift(*of);
        }
    }
    frame(&mut state, Record::Catalogue { channels });
    let mut next = sample(20);
    for value in &mut next.values {
        value.0 = shift(value.0);
    }
    frame(&mut state, Record::Sample(next));
    let channels = &state.shown().channels;
    let heat: Vec<_> = channels.by_id("temp.x86_pkg_temp").unwrap().values().collect();
    assert_eq!(heat[7..], [Some(54.0), None, Some(54.0)]);
    let power: Vec<_> = channels.by_id("power.package-0").unwrap().values().collect();
    assert_eq!(power[7..], [Some(12.5), None, None], "no rate across the gap");
    frame(&mut state, summary(Phase::Decode));
    let tokens: Vec<_> = state.shown().totals.tokens().collect();
    assert_eq!(tokens.iter().filter(|token| token.is_none()).count(), 1);
    assert_eq!(tokens[200], None);
}

#[test]
fn unknown_sites_and_hostile_numbers_are_survived() {
    let mut state = busy();
    let mut wild = summary(Phase::Decode);
    let most = u64::MAX;
    let totals =
        OpTotals { count: most, time_ns: most, max_ns: most, max_at: None, bytes: most, flops: most };
    wild.sites.extend([999, 1].map(|site| SiteTotals { site, totals }));
    wild.books.wall_ns = u64::MAX;
    wild.books.other =
        [SpanName::Sample, SpanName::Wait].map(|name| NamedSpan { name, ns: u64::MAX }).to_vec();
    wild.rows = u64::MAX;
    wild.token_ns = vec![u64::MAX, 0];
    for _ in 0..3 {
        frame(&mut state, wild.clone());
    }
    let values = [(0, f64::NAN), (1, f64::INFINITY), (4, -f64::MAX), (2, f64::MAX), (777, 1.0)];
    let values = values.into_iter().map(|(channel, value)| (channel, Value::Present(value))).collect();
    frame(&mut state, Record::Sample(Sample { t_ns: 0, values, ..Sample::default() }));
    frame(&mut state, Record::Loss { batches: u64::MAX });
    frame(&mut state, Record::Loss { batches: u64::MAX });
    let mut unnamed = plan();
    unnamed.sites.clear();
    frame(&mut state, Record::Plan(unnamed));
    frame(&mut state, summary(Phase::Decode));
    let rows = ops(&state);
    assert!(rows.iter().any(|row| row.name == "ops without a name"));
    super::screens::draw_every_size(&mut state);
}

#[test]
fn a_summary_of_a_plan_that_was_not_announced_is_skipped() {
    let mut state = connected();
    frame(&mut state, summary(Phase::Decode));
    assert_eq!(state.shown().totals.decode.rows, 0);
}

#[test]
fn figures_belong_to_the_job_that_runs() {
    let mut state = busy();
    let mut other = job(JobState::Queued);
    other.job = 8;
    frame(&mut state, Talk::Job(other.clone()));
    assert_eq!(state.shown().job.as_ref().map(|job| job.job), Some(7));
    frame(&mut state, Talk::Job(job(JobState::Done)));
    assert_eq!(state.shown().totals.decode.rows, 200, "an ended job keeps its figures");
    let mut old = job(JobState::Done);
    old.job = 2;
    frame(&mut state, Talk::Job(old));
    assert_eq!(state.shown().job.as_ref().map(|job| job.job), Some(7));
    other.state = JobState::Loading;
    frame(&mut state, Talk::Job(other));
    assert_eq!(state.shown().job.as_ref().map(|job| job.job), Some(8));
    assert_eq!(state.shown().totals.decode.rows, 0);
}

#[test]
fn the_same_job_number_of_another_daemon_is_another_job() {
    let mut state = busy();
    for (origin_ns, rows) in [(5, 0), (5, 10), (6, 0)] {
        let header = Header {
            origin_ns,
            wall_ns: 0,
            boottime_offset_ns: 0,
            boot_id: None,
            version: String::new(),
            host: Host::default(),
        };
        frame(&mut state, Record::Header(header));
        frame(&mut state, Talk::Job(job(JobState::Measuring)));
        assert_eq!(state.shown().totals.decode.rows, rows);
        frame(&mut state, summary(Phase::Decode));
    }
}

#[test]
fn run_and_cancel_ask_for_what_is_possible() {
    let mut state = connected();
    assert!(press(&mut state, KeyCode::Char('r')).is_empty(), "it asks which model");
    letters(&mut state, "360");
    let effects = press(&mut state, KeyCode::Enter);
    assert!(matches!(&effects[..], [Effect::Run { model, .. }] if model == "smollm2-360m"), "{effects:?}");
    let mut state = busy();
    assert!(press(&mut state, KeyCode::Char('r')).is_empty());
    assert!(state.notice.is_some());
    press(&mut state, KeyCode::Char('c'));
    assert_eq!(sent(&press(&mut state, KeyCode::Char('y'))), [&Method::Cancel { job: 7 }]);
    let error = WireError { code: ErrorCode::Forbidden, message: "not yours".to_owned(), field: None };
    update(&mut state, Msg::Reply(Reply { re: Some(9), outcome: Outcome::Error(error) }));
    assert_eq!(state.notice.as_deref(), Some("not yours"));
}

#[test]
fn only_a_job_of_this_client_is_cancelled_without_a_question() {
    let mut state = busy();
    assert!(press(&mut state, KeyCode::Char('c')).is_empty());
    let question = &state.confirm.as_ref().unwrap().1;
    assert!(question.starts_with("job 7 (smollm2-135m) is another client's, of "), "{question}");
    assert!(press(&mut state, KeyCode::Char('n')).is_empty());
    assert_eq!((state.notice.as_deref(), &state.confirm), (Some("job 7 goes on"), &None));
    press(&mut state, KeyCode::Char('c'));
    assert_eq!(sent(&press(&mut state, KeyCode::Char('y'))), [&Method::Cancel { job: 7 }]);

    let mut state = connected();
    press(&mut state, KeyCode::Char('r'));
    let effects = press(&mut state, KeyCode::Enter);
    let [Effect::Run { id, model }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(model, "smollm2-135m", "the last one is selected");
    let ok = Outcome::Ok(serde_json::json!({"job": 7}));
    update(&mut state, Msg::Reply(Reply { re: Some(*id), outcome: ok }));
    frame(&mut state, Talk::Job(job(JobState::Measuring)));
    assert_eq!(sent(&press(&mut state, KeyCode::Char('c'))), [&Method::Cancel { job: 7 }], "its own");

    let mut state = busy();
    state.options.private = true;
    assert_eq!(sent(&press(&mut state, KeyCode::Char('c'))), [&Method::Cancel { job: 7 }]);
}

#[test]
fn selection_moves_within_the_list_and_follows_its_row() {
    let mut state = busy();
    press(&mut state, KeyCode::Char('6'));
    assert_eq!(state.tab, Tab::Hardware);
    press(&mut state, KeyCode::Char('G'));
    let last = state.hardware.selected.clone();
    assert_eq!(last.as_deref(), Some("fan.fan1"));
    press(&mut state, KeyCode::PageDown);
    assert_eq!(state.hardware.selected, last);
    press(&mut state, KeyCode::Char('k'));
    assert_eq!(state.hardware.selected.as_deref(), Some("temp.x86_pkg_temp"));
    press(&mut state, KeyCode::Char('g'));
    assert_eq!(state.hardware.selected.as_deref(), Some("cpu.cpu0"));
}
