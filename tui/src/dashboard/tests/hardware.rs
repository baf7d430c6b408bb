//! The Hardware screen: charts over one axis of time, and views by core, thread and rail.

use crossterm::event::KeyCode;
use slmscope_profiles::channel::{Class, Quantity, Sample, Scope, Unit, Value};
use slmscope_profiles::op::Phase;
use slmscope_profiles::record::Record;
use slmscope_profiles::summary::Summary;

use super::super::Msg;
use super::super::state::State;
use super::super::update::update;
use super::fixture::{busy, catalogue, channel, frame, letters, press, summary};
use super::screens::picture;

const SECOND: u64 = 1_000_000_000;

fn line(state: &State, name: &str) -> String {
    let shown = picture(state, 120, 40);
    let found = shown.lines().find(|line| line.trim_start().starts_with(name));
    found.unwrap_or_else(|| panic!("no line of {name}:\n{shown}")).to_owned()
}

#[test]
fn chosen_channels_are_drawn_below_speed_and_phases() {
    let mut state = busy();
    letters(&mut state, "6/temp");
    press(&mut state, KeyCode::Enter);
    press(&mut state, KeyCode::Esc);
    state.hardware.list.selected = Some("temp.x86_pkg_temp".to_owned());
    for second in 20..50 {
        let phase = if second < 30 { Phase::Prefill } else { Phase::Decode };
        let (begin_ns, end_ns) = (second * SECOND, (second + 1) * SECOND);
        frame(&mut state, Summary { begin_ns, end_ns, ..summary(phase) });
        let values = vec![(4, Value::Present(40.0 + second as f64))];
        frame(&mut state, Record::Sample(Sample { t_ns: end_ns, values, ..Sample::default() }));
    }
    update(&mut state, Msg::Tick { now_ns: 50 * SECOND });
    press(&mut state, KeyCode::Enter);
    assert!(line(&state, "decode").contains("100 tok/s to 100 tok/s"), "{}", picture(&state, 120, 40));
    let phases = line(&state, "phases");
    assert!(phases.contains("PPPPd") && phases.contains("dddd"), "{phases}");
    assert!(line(&state, "throttled").contains("not reported here"));
    assert!(line(&state, "temp.x86_pkg_temp").contains("54.0 °C to 89.0 °C"), "{}", picture(&state, 120, 40));
    assert!(picture(&state, 120, 40).contains("~temp.x86_pkg_temp"), "the row says that it is drawn");
    press(&mut state, KeyCode::Enter);
    assert!(!picture(&state, 120, 40).contains("P prefill, d decode"));
}

#[test]
fn views_show_channels_by_core_and_by_rail() {
    let mut state = busy();
    let mut channels = catalogue();
    let rail = Scope::Rail("VDD_IN".to_owned());
    channels.push(channel(7, "power.rail.VDD_IN", Quantity::Power, Unit::Watts, rail));
    frame(&mut state, Record::Catalogue { channels });
    letters(&mut state, "6v");
    let cores = picture(&state, 80, 24);
    assert!(
        cores.contains("per core") && cores.contains("cpu.cpu1") && !cores.contains("mem.worker"),
        "{cores}"
    );
    letters(&mut state, "v");
    assert!(picture(&state, 80, 24).contains("this machine has no such channel"));
    letters(&mut state, "v");
    let rails = picture(&state, 80, 24);
    assert!(
        rails.contains("rail:VDD_IN") && rails.contains("package") && !rails.contains("cpu.cpu0"),
        "{rails}"
    );
}

/// Hardware showed the load of others as a share of the machine, and Live as one of a core.
#[test]
fn the_load_of_others_is_of_one_core_on_every_screen() {
    let mut state = busy();
    let mut channels = catalogue();
    let foreign = channel(7, "cpu.foreign", Quantity::Cpu, Unit::Ratio, Scope::Machine);
    channels.push(slmscope_profiles::channel::Channel { class: Class::Derived, ..foreign });
    frame(&mut state, Record::Catalogue { channels });
    let values = vec![(7, Value::Present(0.25))];
    frame(&mut state, Record::Sample(Sample { t_ns: 8_400_000_000, values, ..Sample::default() }));
    letters(&mut state, "1");
    assert!(picture(&state, 80, 24).contains("50.0 % of one core"), "{}", picture(&state, 80, 24));
    letters(&mut state, "6");
    let summary = line(&state, "other programs");
    assert!(summary.contains("50.0 %") && summary.contains("of one core"), "{summary}");
    assert!(line(&state, "cpu.foreign").contains("50.0 %"), "{}", picture(&state, 120, 40));
}
