//! Ops and Timeline: what is added up, compared, marked and stepped through.

use crossterm::event::KeyCode;
use slmscope_profiles::op::Phase;
use slmscope_profiles::wire::Method;

use super::super::Effect;
use super::super::state::State;
use super::fixture::{busy, connected, frame, letters, press, summary};
use super::screens::{busy_with_events, picture};

#[test]
fn a_share_of_a_roof_above_100_percent_has_its_reason_and_max_its_place() {
    let mut state = busy();
    letters(&mut state, "2");
    let picture = picture(&state, 120, 40);
    let row = picture.lines().find(|line| line.contains("attn.attention")).expect("a row");
    assert!(row.contains("229 % faster"), "{row}");
    assert!(picture.contains(" max 4.00 ms in layer 0, repetition 3, token 5"), "{picture}");
}

#[test]
fn the_selected_op_has_its_distribution_and_its_roofs() {
    let mut state = busy_with_events();
    letters(&mut state, "2");
    let picture = picture(&state, 120, 40);
    for part in
        ["400 calls by time", "kernels avx2", "attn.qkv_proj q4_0 576×576", "roofs: reads 2.00 GB/s", "p99"]
    {
        assert!(picture.contains(part), "{part}:\n{picture}");
    }
}

#[test]
fn ops_are_added_up_by_each_property_and_compared_with_a_pin() {
    let mut state = busy();
    letters(&mut state, "2");
    for (group, part) in [
        ("module", "attention"),
        ("kind", "matmul"),
        ("layer", "layer 1"),
        ("format", "q4_0"),
        ("op", "lm_head"),
    ] {
        letters(&mut state, "g");
        let picture = picture(&state, 120, 40);
        assert!(
            picture.contains(&format!("decode by {group} ")) && picture.contains(part),
            "{group}:\n{picture}"
        );
    }
    letters(&mut state, "p");
    frame(&mut state, summary(Phase::Decode));
    let mut slower = summary(Phase::Decode);
    slower.sites[7].totals.time_ns *= 2;
    frame(&mut state, slower);
    let compared = picture(&state, 200, 60);
    assert!(compared.contains("compared with smollm2-135m q4_0, job 7, 200 steps"), "{compared}");
    let head = compared.lines().find(|line| line.starts_with("    lm_head") || line.contains("▸ lm_head"));
    assert!(head.is_some_and(|line| line.contains("+4.5 %")), "{compared}");
    letters(&mut state, "P");
    assert!(!picture(&state, 200, 60).contains("compared with"));
}

#[test]
fn a_timeline_steps_jumps_zooms_and_compares() {
    let mut state = busy_with_events();
    letters(&mut state, "3");
    let shown = |state: &State| picture(state, 120, 40);
    assert!(
        shown(&state).contains("decode token 200, repetition 1 · 10.0 ms · context 712"),
        "{}",
        shown(&state)
    );
    press(&mut state, KeyCode::Left);
    assert!(shown(&state).contains("decode token 199"), "{}", shown(&state));
    letters(&mut state, "b");
    press(&mut state, KeyCode::Left);
    let compared = shown(&state);
    assert!(compared.contains("against decode token 199, repetition 1"), "{compared}");
    letters(&mut state, "b++");
    assert!(shown(&state).contains("×4"), "{}", shown(&state));
    letters(&mut state, "n");
    assert!(shown(&state).contains("decode token 200"));
    for key in ["s", "p", "m", "<", ">", "j", "k", "-"] {
        letters(&mut state, key);
        shown(&state);
    }
}

#[test]
fn single_events_are_asked_for_only_while_a_screen_needs_them() {
    let mut state = connected();
    let raw = |effects: Vec<Effect>| match &effects[..] {
        [Effect::Send(request)] => match &request.method {
            Method::Subscribe(subscribe) => Some(subscribe.ops.raw),
            other => panic!("{other:?}"),
        },
        [] => None,
        other => panic!("{other:?}"),
    };
    for (key, expected) in [('2', Some(true)), ('3', None), ('1', Some(false)), ('6', None)] {
        assert_eq!(raw(press(&mut state, KeyCode::Char(key))), expected, "{key}");
    }
}

#[test]
fn a_marked_op_is_followed_on_all_screens() {
    let mut state = busy_with_events();
    letters(&mut state, "2x");
    assert_eq!(state.mark.as_ref().map(|mark| mark.name.as_str()), Some("attn.qkv_proj"));
    assert!(picture(&state, 120, 40).contains("▸ attn.qkv_proj <"), "{}", picture(&state, 120, 40));
    letters(&mut state, "1");
    let live = picture(&state, 80, 24);
    let row = live.lines().find(|line| line.contains("> attn.qkv_proj")).expect("a row of the mark");
    assert!(row.contains("40.0 %") && row.contains("4.00 ms"), "{row}");
    letters(&mut state, "3");
    assert!(picture(&state, 120, 40).contains("attn.qkv_proj, which is marked, takes 4.00 ms, 40.0 %"));
    letters(&mut state, "4x");
    assert_eq!(state.mark, None, "the same op, marked again");
    letters(&mut state, "2G");
    letters(&mut state, "x");
    assert_eq!(state.notice.as_deref(), Some("select a row of one op to mark it"), "the total is no op");
}
