//! What `update` makes of messages.

use std::time::Duration;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use slmscope_profiles::channel::{Kind, Sample, Value};
use slmscope_profiles::op::Phase;
use slmscope_profiles::record::Record;
use slmscope_profiles::span::{NamedSpan, SpanName};
use slmscope_profiles::totals::{OpTotals, SiteTotals};
use slmscope_profiles::wire::Method;

use super::super::screens::live::parts::{Part, parts};
use super::super::screens::ops::row::{Level, Row};
use super::super::screens::ops::rows::rows;
use super::super::state::{Link, State};
use super::super::tab::Tab;
use super::super::update::update;
use super::super::{Effect, Msg};
use super::fixture::{busy, catalogue, connected, frame, hello, letters, plan, press, sample, sent, summary};

fn ops(state: &State) -> Vec<Row> {
    let data = state.shown();
    rows(data, &state.ops)
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
fn a_lost_connection_leaves_a_gap_and_history_stays() {
    let mut state = busy();
    update(&mut state, Msg::Disconnected { reason: "daemon ended".to_owned(), retry: Duration::ZERO });
    update(&mut state, Msg::Disconnected { reason: "no such file".to_owned(), retry: Duration::ZERO });
    assert!(matches!(&state.link, Link::Down { reason, .. } if reason == "no such file"));
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
fn selection_moves_within_the_list_and_follows_its_row() {
    let mut state = busy();
    press(&mut state, KeyCode::Char('6'));
    assert_eq!(state.tab, Tab::Hardware);
    press(&mut state, KeyCode::Char('G'));
    let last = state.hardware.list.selected.clone();
    assert_eq!(last.as_deref(), Some("fan.fan1"));
    press(&mut state, KeyCode::PageDown);
    assert_eq!(state.hardware.list.selected, last);
    press(&mut state, KeyCode::Char('k'));
    assert_eq!(state.hardware.list.selected.as_deref(), Some("temp.x86_pkg_temp"));
    press(&mut state, KeyCode::Char('g'));
    assert_eq!(state.hardware.list.selected.as_deref(), Some("cpu.cpu0"));
}
