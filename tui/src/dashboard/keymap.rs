//! Which keys an action has: those of the binding tables, or others that the user's settings give it.

use std::borrow::Cow;

use crossterm::event::KeyCode;

use super::keys::{Action, Binding};
use super::screens;
use super::tab::Tab;

/// Keys by name, beside single letters.
const NAMES: [(&str, KeyCode); 16] = [
    ("space", KeyCode::Char(' ')),
    ("enter", KeyCode::Enter),
    ("tab", KeyCode::Tab),
    ("back-tab", KeyCode::BackTab),
    ("esc", KeyCode::Esc),
    ("backspace", KeyCode::Backspace),
    ("delete", KeyCode::Delete),
    ("insert", KeyCode::Insert),
    ("home", KeyCode::Home),
    ("end", KeyCode::End),
    ("page-up", KeyCode::PageUp),
    ("page-down", KeyCode::PageDown),
    ("left", KeyCode::Left),
    ("right", KeyCode::Right),
    ("up", KeyCode::Up),
    ("down", KeyCode::Down),
];

/// The key that is called so.
pub fn key(name: &str) -> Option<KeyCode> {
    let mut letters = name.chars();
    if let (Some(letter), None) = (letters.next(), letters.next()) {
        return Some(KeyCode::Char(letter)).filter(|_| !letter.is_control());
    }
    let name = name.to_ascii_lowercase();
    if let Some(number) = name.strip_prefix('f').and_then(|number| number.parse().ok()) {
        return (1..=12).contains(&number).then_some(KeyCode::F(number));
    }
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, code)| *code)
}

/// What a key is called in help and settings.
fn spelling(code: KeyCode) -> String {
    match code {
        KeyCode::Char(letter) if letter != ' ' => letter.to_string(),
        KeyCode::F(number) => format!("f{number}"),
        code => NAMES.iter().find(|(_, known)| *known == code).map_or("?", |(name, _)| *name).to_owned(),
    }
}

/// What an action is called in settings: its name in the source, in small letters with hyphens.
pub fn name(action: Action) -> String {
    let mut name = String::new();
    for letter in format!("{action:?}").chars() {
        match letter {
            '(' => name.push('-'),
            ')' => {}
            letter => {
                let begins_word = letter.is_ascii_uppercase() && !name.is_empty() && !name.ends_with('-');
                if begins_word {
                    name.push('-');
                }
                name.push(letter.to_ascii_lowercase());
            }
        }
    }
    name
}

/// Every binding of every screen, each action once.
pub fn all() -> Vec<&'static Binding> {
    let mut found: Vec<&Binding> = Vec::new();
    for (tab, replays) in Tab::ALL.into_iter().flat_map(|tab| [(tab, false), (tab, true)]) {
        for binding in screens::bindings(tab, replays) {
            if !found.iter().any(|known| known.action == binding.action) {
                found.push(binding);
            }
        }
    }
    found
}

/// Actions whose keys the user has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keymap {
    changed: Vec<(Action, Vec<KeyCode>)>,
}

impl Keymap {
    /// Gives an action these keys in place of its own; without any it has none.
    pub fn set(&mut self, action: Action, keys: Vec<KeyCode>) {
        self.changed.retain(|(known, _)| *known != action);
        self.changed.push((action, keys));
    }

    fn changed(&self, action: Action) -> Option<&[KeyCode]> {
        self.changed.iter().find(|(known, _)| *known == action).map(|(_, keys)| keys.as_slice())
    }

    /// How the keys of a binding are spelled in help and footer; empty if it has none.
    pub fn spelling(&self, binding: &Binding) -> Cow<'static, str> {
        match self.changed(binding.action) {
            None => Cow::Borrowed(binding.spelling),
            Some(keys) => {
                let keys: Vec<_> = keys.iter().map(|&code| spelling(code)).collect();
                Cow::Owned(keys.join(" "))
            }
        }
    }

    /// What a key does among `bindings`: a key that the user chose does only what it was chosen for.
    pub fn action(
        &self,
        code: KeyCode,
        bindings: impl Iterator<Item = &'static Binding> + Clone,
    ) -> Option<Action> {
        let chosen =
            |binding: &&Binding| self.changed(binding.action).is_some_and(|keys| keys.contains(&code));
        let usual =
            |binding: &&Binding| self.changed(binding.action).is_none() && binding.keys.contains(&code);
        let found = bindings.clone().find(chosen).or_else(|| bindings.clone().find(usual));
        found.map(|binding| binding.action)
    }

    /// Two actions of one screen that have the same chosen key, if there are some: the key and their names.
    pub fn conflict(&self) -> Option<(String, String, String)> {
        for (tab, replays) in Tab::ALL.into_iter().flat_map(|tab| [(tab, false), (tab, true)]) {
            let mut seen: Vec<(KeyCode, Action)> = Vec::new();
            for binding in screens::bindings(tab, replays) {
                for &code in self.changed(binding.action).unwrap_or_default() {
                    match seen.iter().find(|(known, _)| *known == code) {
                        Some((_, other)) if *other != binding.action => {
                            return Some((spelling(code), name(*other), name(binding.action)));
                        }
                        _ => seen.push((code, binding.action)),
                    }
                }
            }
        }
        None
    }
}

/// All actions with their names, keys and meanings, as lines.
pub fn listing() -> String {
    let mut text = String::from(
        "KEYS: what the dashboard's keys do, and what settings call it\n\n\
         $XDG_CONFIG_HOME/slmscope/dashboard.toml [default: ~/.config/...] gives an\n\
         action other keys:\n\n  [keys]\n  quit = [\"q\", \"f10\"]\n  next-tab = \"n\"\n\n\
         Keys are letters, space, enter, tab, esc, home, end, page-up, page-down,\n\
         left, right, up, down, delete, insert, backspace, back-tab and f1 to f12.\n\
         Ctrl-C quits, Ctrl-L repaints, Ctrl-Z suspends, whatever the settings say.\n\n",
    );
    for binding in all() {
        let keys: Vec<_> = binding.keys.iter().map(|&code| spelling(code)).collect();
        text.push_str(&format!("  {:<22} {:<16} {}\n", name(binding.action), keys.join(" "), binding.help));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::screens::ops;

    fn pressed(keymap: &Keymap, code: KeyCode) -> Option<Action> {
        keymap.action(code, screens::bindings(Tab::Ops, false))
    }

    #[test]
    fn every_action_has_a_name_of_its_own() {
        let mut names: Vec<_> = all().into_iter().map(|binding| name(binding.action)).collect();
        for known in ["quit", "open-help", "tab-live", "next-tab", "page-down", "ops-group", "timeline-p99"] {
            assert!(names.iter().any(|name| name == known), "{known}: {names:?}");
        }
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count, "{names:?}");
        for name in names {
            assert!(name.bytes().all(|byte| b"-0123456789".contains(&byte) || byte.is_ascii_lowercase()));
        }
    }

    #[test]
    fn every_key_of_the_tables_has_a_name_that_means_it() {
        for binding in all() {
            for &code in binding.keys {
                assert_eq!(key(&spelling(code)), Some(code), "{}", binding.spelling);
            }
        }
        assert_eq!(
            [key("PAGE-UP"), key("f13"), key("ctrl"), key(""), key("\u{1b}")],
            [Some(KeyCode::PageUp), None, None, None, None]
        );
    }

    #[test]
    fn a_chosen_key_does_what_it_was_chosen_for_and_nothing_else() {
        let mut keymap = Keymap::default();
        let (group, sort) = (Action::Ops(ops::state::Action::Group), Action::Ops(ops::state::Action::Sort));
        assert_eq!(pressed(&keymap, KeyCode::Char('g')), Some(group));
        keymap.set(group, vec![KeyCode::Char('s'), KeyCode::F(2)]);
        assert_eq!(pressed(&keymap, KeyCode::Char('g')), None);
        assert_eq!(pressed(&keymap, KeyCode::Char('s')), Some(group), "sort had it");
        assert_eq!(pressed(&keymap, KeyCode::F(2)), Some(group));
        assert_eq!(keymap.conflict(), None);
        let binding = all().into_iter().find(|binding| binding.action == group).unwrap();
        assert_eq!(keymap.spelling(binding), "s f2");
        keymap.set(sort, vec![KeyCode::F(2)]);
        let told = ("f2".to_owned(), "ops-group".to_owned(), "ops-sort".to_owned());
        assert_eq!(keymap.conflict(), Some(told));
        keymap.set(Action::Quit, Vec::new());
        assert_eq!(pressed(&keymap, KeyCode::Char('q')), None);
    }

    #[test]
    fn the_list_of_keys_fits_80_columns() {
        let text = listing();
        let wide = text.lines().find(|line| crate::width::columns(line) > 80);
        assert_eq!(wide, None);
        assert!(text.contains("  ops-sort") && text.contains("sort\n"), "{text}");
    }
}
