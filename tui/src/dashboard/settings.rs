//! How the user wants the dashboard to look and to be operated: `dashboard.toml` in their configuration folder, the
//! terminal, and the flag `--theme`.
//!
//! Nothing in the file keeps the dashboard from opening: what is wrong is left out, and said.

use std::path::{Path, PathBuf};

use slmscope_profiles::display::excerpt;
use slmscope_profiles::words::nearest;

use super::glyphs::Glyphs;
use super::keymap::{self, Keymap};
use super::palette::{Palette, Theme};

/// Longest file that is read, bytes.
const MAX_BYTES: u64 = 1 << 20;
/// Longest word of the file that a message repeats, bytes.
const MAX_ECHO: usize = 60;

/// How the dashboard looks and is operated.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Colours and glyphs.
    pub palette: Palette,
    /// Keys that were changed.
    pub keymap: Keymap,
    /// The mouse is the dashboard's at its start.
    pub mouse: bool,
    /// What of the file is left out, and why.
    pub problems: Vec<String>,
}

/// What the environment says of the terminal.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `TERM`.
    pub term: String,
    /// `COLORTERM`, which a terminal of many colours may set.
    pub colorterm: String,
    /// `COLORFGBG`, which some terminals set to their foreground and background: `15;0`.
    pub colorfgbg: String,
    /// `NO_COLOR` is set and not empty.
    pub no_color: bool,
    /// The first of `LC_ALL`, `LC_CTYPE` and `LANG` that is set.
    pub locale: String,
}

impl Environment {
    /// That of this process.
    pub fn read() -> Self {
        let variable = |value: Result<String, std::env::VarError>| value.unwrap_or_default();
        let locales = [std::env::var("LC_ALL"), std::env::var("LC_CTYPE"), std::env::var("LANG")];
        let locale = locales.into_iter().map(variable).find(|value| !value.is_empty());
        Self {
            term: variable(std::env::var("TERM")),
            colorterm: variable(std::env::var("COLORTERM")),
            colorfgbg: variable(std::env::var("COLORFGBG")),
            no_color: std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()),
            locale: locale.unwrap_or_default(),
        }
    }

    /// The theme that suits the terminal, as far as it tells.
    fn theme(&self) -> Theme {
        let background = self.colorfgbg.rsplit(';').next().and_then(|colour| colour.parse::<u8>().ok());
        match background {
            _ if self.no_color || self.term == "dumb" => Theme::Mono,
            Some(7 | 15) => Theme::Light,
            _ => Theme::Dark,
        }
    }

    fn has_256(&self) -> bool {
        let has_more = ["truecolor", "24bit"].contains(&self.colorterm.as_str());
        has_more || self.term.contains("256color") || self.term.contains("direct")
    }

    /// What the terminal's font has. Where no locale is set, as in many containers, the terminal decides.
    fn glyphs(&self) -> Glyphs {
        let locale = self.locale.to_ascii_lowercase().replace('-', "");
        if !locale.is_empty() && !locale.contains("utf8") {
            Glyphs::Ascii
        } else if self.term == "linux" || self.term == "dumb" {
            Glyphs::Console
        } else {
            Glyphs::Fine
        }
    }
}

/// The file with the settings; `None` without a home folder.
pub fn path() -> Option<PathBuf> {
    let folder =
        |value: Option<std::ffi::OsString>| value.filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || folder(std::env::var_os("HOME")).map(|home| home.join(".config"));
    let folder = folder(std::env::var_os("XDG_CONFIG_HOME")).or_else(home)?;
    Some(folder.join("slmscope/dashboard.toml"))
}

impl Settings {
    /// Those of this user on this terminal; `theme` is that of the command line.
    pub fn read(theme: Option<Theme>) -> Self {
        let environment = Environment::read();
        let Some(path) = path() else { return Self::of("", "", theme, &environment) };
        let name = path.display().to_string();
        match read(&path) {
            Ok(text) => Self::of(&text, &name, theme, &environment),
            Err(problem) => {
                let mut settings = Self::of("", &name, theme, &environment);
                settings.problems.push(format!("{name}: {problem}"));
                settings
            }
        }
    }

    /// Those of a file's text.
    pub fn of(text: &str, file: &str, theme: Option<Theme>, environment: &Environment) -> Self {
        let mut read = Reading { file, problems: Vec::new() };
        let table = toml::from_str::<toml::Table>(text).unwrap_or_else(|error| {
            let line = error.to_string();
            let line: Vec<_> = line.lines().filter(|line| !line.trim().is_empty()).collect();
            read.problem(&line.join(" "));
            toml::Table::new()
        });
        let mut own = Own::default();
        for (key, value) in &table {
            read.setting(key, value, &mut own);
        }
        if let Some((key, one, other)) = own.keymap.conflict() {
            read.problem(&format!("keys: `{key}` is both {one} and {other} on one screen: it is {one}"));
        }
        // The user's wish on the command line is stronger than NO_COLOR, and that than the file.
        let of_file = own.theme.filter(|_| !environment.no_color);
        let theme = theme.or(of_file).unwrap_or_else(|| environment.theme());
        let glyphs = own.glyphs.unwrap_or_else(|| environment.glyphs());
        Self {
            palette: Palette::of(theme, environment.has_256(), glyphs),
            keymap: own.keymap,
            mouse: own.mouse.unwrap_or(true),
            problems: read.problems,
        }
    }
}

/// The text of the file; empty if there is none.
fn read(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// What the file says.
#[derive(Default)]
struct Own {
    theme: Option<Theme>,
    glyphs: Option<Glyphs>,
    mouse: Option<bool>,
    keymap: Keymap,
}

/// Reads settings, and keeps what is wrong with them.
struct Reading<'a> {
    file: &'a str,
    problems: Vec<String>,
}

impl Reading<'_> {
    fn problem(&mut self, text: &str) {
        self.problems.push(format!("{}: {}", self.file, excerpt(text, 300)));
    }

    fn setting(&mut self, key: &str, value: &toml::Value, own: &mut Own) {
        match (key, value) {
            ("theme", toml::Value::String(word)) => match word.parse() {
                Ok(theme) => own.theme = Some(theme),
                Err(error) => self.problem(&format!("theme: {error}")),
            },
            ("glyphs", toml::Value::String(word)) => {
                own.glyphs = Glyphs::ALL.iter().find(|(name, _)| name == word).map(|(_, glyphs)| *glyphs);
                if own.glyphs.is_none() {
                    self.problem("glyphs: fine, console or ascii");
                }
            }
            ("mouse", toml::Value::Boolean(taken)) => own.mouse = Some(*taken),
            ("keys", toml::Value::Table(keys)) => {
                for (action, keys) in keys {
                    self.keys(action, keys, &mut own.keymap);
                }
            }
            ("theme" | "glyphs", _) => self.problem(&format!("{key}: its value is a word in quotes")),
            ("mouse", _) => self.problem("mouse: true or false"),
            ("keys", _) => self.problem("keys: a table; see `slmscope help keys`"),
            _ => {
                let hint = hint(nearest(key, ["theme", "glyphs", "mouse", "keys"]));
                self.problem(&format!("there is no setting `{}`{hint}", excerpt(key, MAX_ECHO)));
            }
        }
    }

    /// The keys of one action: a word, or a list of words.
    fn keys(&mut self, action: &str, value: &toml::Value, keymap: &mut Keymap) {
        let bindings = keymap::all();
        let names: Vec<_> = bindings.iter().map(|binding| keymap::name(binding.action)).collect();
        let Some(at) = names.iter().position(|name| name == action) else {
            let hint = hint(nearest(action, names.iter().map(String::as_str)));
            return self.problem(&format!("keys: there is no action `{}`{hint}", excerpt(action, MAX_ECHO)));
        };
        let words = match value {
            toml::Value::Array(words) => words.as_slice(),
            word => std::slice::from_ref(word),
        };
        let mut codes = Vec::new();
        for word in words {
            let Some(code) = word.as_str().and_then(keymap::key) else {
                let word =
                    word.as_str().map_or_else(|| word.type_str().to_owned(), |word| format!("`{word}`"));
                let word = excerpt(&word, MAX_ECHO);
                return self.problem(&format!("keys: {action}: there is no key {word}"));
            };
            codes.push(code);
        }
        keymap.set(bindings[at].action, codes);
    }
}

fn hint(near: Option<&str>) -> String {
    near.map_or_else(|| "; see `slmscope help keys`".to_owned(), |near| format!("; did you mean `{near}`?"))
}

#[cfg(test)]
mod tests {
    use crossterm::event::KeyCode;

    use super::*;
    use crate::dashboard::keys::Action;
    use crate::dashboard::screens::bindings;
    use crate::dashboard::tab::Tab;

    fn settings(text: &str) -> Settings {
        let environment = Environment { term: "xterm-256color".to_owned(), ..Environment::default() };
        Settings::of(text, "dashboard.toml", None, &environment)
    }

    #[test]
    fn a_file_sets_theme_glyphs_mouse_and_keys() {
        let text = "theme = \"light\"\nglyphs = \"ascii\"\nmouse = false\n[keys]\nquit = [\"x\", \"f10\"]\npause = \"p\"\n";
        let settings = settings(text);
        assert_eq!(settings.problems, Vec::<String>::new());
        assert_eq!(settings.palette, Palette::of(Theme::Light, true, Glyphs::Ascii));
        assert!(!settings.mouse);
        let pressed = |code| settings.keymap.action(code, bindings(Tab::Live, false));
        assert_eq!(pressed(KeyCode::F(10)), Some(Action::Quit));
        assert_eq!(pressed(KeyCode::Char('q')), None);
        assert_eq!(pressed(KeyCode::Char('p')), Some(Action::Pause));
    }

    #[test]
    fn what_is_wrong_in_the_file_is_left_out_and_named_with_what_may_have_been_meant() {
        for (text, told) in [
            ("them = \"light\"", "there is no setting `them`; did you mean `theme`?"),
            ("theme = \"ligh\"", "theme: did you mean light? the themes are"),
            ("theme = 1", "theme: its value is a word in quotes"),
            ("glyphs = \"x\"", "glyphs: fine, console or ascii"),
            ("mouse = \"yes\"", "mouse: true or false"),
            ("keys = 1", "keys: a table"),
            ("[keys]\nqui = \"x\"", "there is no action `qui`; did you mean `quit`?"),
            ("[keys]\nquit = [\"x\", \"ctrl-x\"]", "keys: quit: there is no key `ctrl-x`"),
            ("[keys]\nquit = 7", "keys: quit: there is no key integer"),
            ("[keys]\nquit = \"x\"\nopen-help = \"x\"", "keys: `x` is both"),
            ("theme = ", "TOML parse error at line 1"),
        ] {
            let settings = settings(text);
            assert!(settings.problems[0].starts_with("dashboard.toml: "), "{:?}", settings.problems);
            assert!(settings.problems[0].contains(told), "{text}: {:?}", settings.problems);
            assert_eq!(settings.palette, Palette::of(Theme::Dark, true, Glyphs::Fine));
        }
    }

    #[test]
    fn the_terminal_decides_what_the_user_does_not() {
        let with = |change: fn(&mut Environment)| {
            let mut environment = Environment { term: "xterm".to_owned(), ..Environment::default() };
            change(&mut environment);
            Settings::of("", "", None, &environment).palette
        };
        let palette = |theme, glyphs| Palette::of(theme, false, glyphs);
        assert_eq!(with(|_| {}), palette(Theme::Dark, Glyphs::Fine));
        assert_eq!(with(|own| own.no_color = true), palette(Theme::Mono, Glyphs::Fine));
        assert_eq!(with(|own| own.term = "dumb".to_owned()), palette(Theme::Mono, Glyphs::Console));
        assert_eq!(with(|own| own.term = "linux".to_owned()), palette(Theme::Dark, Glyphs::Console));
        assert_eq!(with(|own| own.locale = "C".to_owned()), palette(Theme::Dark, Glyphs::Ascii));
        assert_eq!(with(|own| own.locale = "de_DE".to_owned()), palette(Theme::Dark, Glyphs::Ascii));
        assert_eq!(with(|own| own.locale = "C.UTF-8".to_owned()), palette(Theme::Dark, Glyphs::Fine));
        assert_eq!(with(|own| own.colorfgbg = "0;15".to_owned()), palette(Theme::Light, Glyphs::Fine));
        let many = with(|own| own.colorterm = "truecolor".to_owned());
        assert_eq!(many, Palette::of(Theme::Dark, true, Glyphs::Fine));
        let plain = Environment { no_color: true, ..Environment::default() };
        let mono = Settings::of("theme = \"light\"", "", None, &plain).palette;
        assert_eq!(mono, palette(Theme::Mono, Glyphs::Fine), "NO_COLOR is stronger than the file");
        let asked = Settings::of("", "", Some(Theme::Light), &plain).palette;
        assert_eq!(asked, palette(Theme::Light, Glyphs::Fine), "and the flag than NO_COLOR");
    }
}
