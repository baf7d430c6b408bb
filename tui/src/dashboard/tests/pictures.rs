//! Stored pictures of the screens.
//!
//! They lie in `snapshots/`; `SLMSCOPE_UPDATE_SNAPSHOTS=1` writes them anew. One picture a file shows a screen while a job
//! runs; in what is called after another state, all screens stand one below the other.

use std::time::Duration;

use slmscope_profiles::channel::{Kind, Quantity, Sample, Scope, Unit, Value};
use slmscope_profiles::job::JobState;
use slmscope_profiles::op::Phase;
use slmscope_profiles::record::Record;
use slmscope_profiles::wire::Talk;

use super::super::Msg;
use super::super::state::State;
use super::super::tab::Tab;
use super::super::update::update;
use super::fixture::{busy, catalogue, channel, connected, frame, job, letters, summary};
use super::replay::{entries, follow, replay};
use super::screens::{busy_with_events, compare, picture};
use super::sessions::kept;

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

#[test]
fn stored_pictures() {
    let mut state = busy_with_events();
    state.sessions.kept = Some(kept());
    state.sessions.listed_s = 1_000_600;
    for tab in Tab::ALL {
        state.tab = tab;
        for (width, height) in SIZES {
            let name = format!("{}-{width}x{height}.txt", tab.title().to_lowercase());
            compare(&name, &picture(&state, width, height));
        }
    }
    state.tab = Tab::Live;
    compare("live-40x12.txt", &picture(&state, 40, 12));
    compare("idle-80x24.txt", &picture(&connected(), 80, 24));
    letters(&mut state, "2d");
    compare("ops-prefill-120x40.txt", &picture(&state, 120, 40));
}

/// All screens of a state, one below the other.
fn all(state: &mut State, name: &str) {
    for (width, height) in SIZES {
        let mut pictures = String::new();
        for tab in Tab::ALL {
            state.tab = tab;
            pictures.push_str(&picture(state, width, height));
        }
        compare(&format!("states/{name}-{width}x{height}.txt"), &pictures);
    }
}

#[test]
fn stored_pictures_of_a_replay() {
    let (mut state, mut player) = replay(&entries(100), None);
    follow(&mut state, &mut player);
    all(&mut state, "replay");
}

#[test]
fn stored_pictures_of_a_daemon_that_ran_nothing() {
    all(&mut connected(), "empty");
}

#[test]
fn stored_pictures_of_a_lost_connection() {
    let mut state = busy_with_events();
    update(
        &mut state,
        Msg::Disconnected { reason: "the daemon is gone".to_owned(), retry: Duration::from_millis(500) },
    );
    all(&mut state, "disconnected");
}

#[test]
fn stored_pictures_of_a_machine_that_throttles() {
    let mut state = busy_with_events();
    let mut channels = catalogue();
    channels.push(slmscope_profiles::channel::Channel {
        kind: Kind::Counter { range: None },
        ..channel(7, "throttle.core_throttle_count", Quantity::Throttle, Unit::Count, Scope::Machine)
    });
    frame(&mut state, Record::Catalogue { channels });
    for (t, count) in [(9, 3.0), (10, 3.0), (11, 8.0)] {
        let values = vec![(7, Value::Present(count)), (4, Value::Present(96.0))];
        frame(&mut state, Record::Sample(Sample { t_ns: t * 1_000_000_000, values, ..Sample::default() }));
    }
    update(&mut state, Msg::Tick { now_ns: 11_200_000_000 });
    state.hardware.charted.insert("temp.x86_pkg_temp".to_owned());
    all(&mut state, "throttled");
}

#[test]
fn stored_pictures_of_a_machine_without_a_power_sensor() {
    let mut state = connected();
    let mut channels = catalogue();
    channels.retain(|channel| !matches!(channel.quantity, Quantity::Power | Quantity::Energy));
    channels.push(slmscope_profiles::channel::Channel {
        class: slmscope_profiles::channel::Class::Unavailable,
        reason: Some(slmscope_profiles::channel::Reason::new(
            slmscope_profiles::channel::ReasonCode::Permission,
            "energy_uj is for root",
        )),
        remedy: Some("let the daemon's user read it: a udev rule is in systemd/".to_owned()),
        ..channel(3, "power.package-0", Quantity::Power, Unit::Watts, Scope::Package)
    });
    frame(&mut state, Record::Catalogue { channels });
    frame(&mut state, Talk::Job(Box::new(job(JobState::Measuring))));
    frame(&mut state, Record::Plan(super::fixture::plan()));
    frame(&mut state, summary(Phase::Prefill));
    frame(&mut state, summary(Phase::Decode));
    update(&mut state, Msg::Tick { now_ns: 2_000_000_000 });
    all(&mut state, "no-power");
}

#[test]
fn stored_pictures_of_losses() {
    let mut state = busy();
    frame(&mut state, Record::Loss { batches: 3 });
    frame(&mut state, Talk::Gap { first_seq: 7, last_seq: 9, batches: 3 });
    frame(&mut state, summary(Phase::Decode));
    all(&mut state, "losses");
}
