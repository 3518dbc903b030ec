//! Settings from flags, environment and file, in this order of precedence, each with where it comes from.
//!
//! The flags that clap knows are the one list of settings: names, defaults, what a value may be. Here clap reads the command
//! line without judging values, the other two places fill what was not typed, and every value is then judged by the flag's own
//! parser. So all that is wrong can be told at once, and a value means the same wherever it stands.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::builder::{Resettable, ValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, FromArgMatches};

use super::file::ConfigFile;

/// The subcommand that serves admissions.
pub const WEBHOOK: &str = "webhook";
/// The subcommand that keeps what is there as the sets ask.
pub const CONTROLLER: &str = "controller";
/// The subcommands that have settings.
const SUBCOMMANDS: [&str; 2] = [WEBHOOK, CONTROLLER];
/// Flags that say what to do with settings and are none.
const NO_SETTINGS: [&str; 4] = ["config", "print-config", "help", "version"];
/// Variable that names the file.
const CONFIG_VARIABLE: &str = "SIDECARSET_CONFIG";

/// The variables of a process.
pub type Environment = BTreeMap<OsString, OsString>;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Flag,
    /// This variable.
    Environment(String),
    /// The configuration file, at this line, from 1.
    File(PathBuf, Option<u64>),
    /// Nobody gave it.
    Default,
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The flag's name without its dashes.
    pub name: String,
    /// Its values as they would be typed; none if it is not set and has no default.
    pub values: Vec<OsString>,
    /// Where they come from.
    pub origin: Origin,
    /// Whether it takes several values, parted by commas.
    pub is_list: bool,
}

impl Setting {
    /// What a person has to look at to change it.
    #[must_use]
    pub fn place(&self) -> String {
        match &self.origin {
            Origin::Flag => format!("--{}", self.name),
            Origin::Environment(variable) => variable.clone(),
            Origin::File(path, Some(line)) => format!("{} line {line}, {}", path.display(), self.name),
            Origin::File(path, None) => format!("{}, {}", path.display(), self.name),
            Origin::Default => format!("--{} (default)", self.name),
        }
    }
}

/// Every setting, in the order of `--help`.
#[derive(Debug, Default)]
pub struct Settings(pub Vec<Setting>);

impl Settings {
    /// [`Setting::place`] of a setting.
    #[must_use]
    pub fn place(&self, name: &str) -> String {
        self.0.iter().find(|s| s.name == name).map_or_else(|| format!("--{name}"), Setting::place)
    }

    /// Whether somebody gave it.
    #[must_use]
    pub fn is_given(&self, name: &str) -> bool {
        self.0.iter().any(|setting| setting.name == name && setting.origin != Origin::Default)
    }
}

/// One thing that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Names of the settings that it is about.
    pub settings: Vec<&'static str>,
    /// For people: the place, what was found and what would be right.
    pub text: String,
}

/// The settings of a subcommand, read and judged one by one.
#[derive(Debug)]
pub struct Layers<A> {
    /// Every setting that is good.
    pub settings: Settings,
    /// The same, typed. A setting that is bad has its default in it.
    pub args: A,
    /// What is wrong with the others, a line each.
    pub problems: Vec<String>,
    /// Names of the settings that are bad.
    pub bad: Vec<String>,
}

impl<A> Layers<A> {
    /// Looks at how the settings go with each other and with the machine.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, a line each.
    pub(super) fn checked(
        self,
        find: impl FnOnce(&A, &Settings) -> Vec<Problem>,
    ) -> Result<(A, Settings), Vec<String>> {
        let Self { settings, args, mut problems, bad } = self;
        // What is wrong by itself has its default in `args`: nothing can be said about how it goes with others.
        let about_good =
            |problem: &Problem| !problem.settings.iter().any(|name| bad.iter().any(|b| b == name));
        problems.extend(find(&args, &settings).into_iter().filter(about_good).map(|p| p.text));
        if problems.is_empty() { Ok((args, settings)) } else { Err(problems) }
    }
}

/// `command` whose subcommands with settings take any value, for [`read`].
#[must_use]
pub fn without_judging(command: Command) -> Command {
    let anything = |arg: Arg| {
        let arg = arg.env(Resettable::Reset).required(false);
        if arg.get_action().takes_values() { arg.value_parser(ValueParser::os_string()) } else { arg }
    };
    SUBCOMMANDS.into_iter().fold(command, |command, name| {
        command.mut_subcommand(name, |subcommand| subcommand.mut_args(anything))
    })
}

/// The subcommand with settings that was typed, if it was one of these, and its matches. `typed` are those of [`without_judging`].
#[must_use]
pub fn typed_subcommand(typed: &ArgMatches) -> Option<(&str, &ArgMatches)> {
    typed.subcommand().filter(|(name, _)| SUBCOMMANDS.contains(name))
}

/// Reads all three places. `typed` are the matches of the subcommand `name`, as [`typed_subcommand`] gives them.
///
/// # Errors
///
/// The file cannot be read, or clap does not take what all places together say: a text for people.
pub fn read<A: FromArgMatches>(
    command: &Command,
    (name, typed): (&str, &ArgMatches),
    environment: &Environment,
) -> Result<Layers<A>, String> {
    let subcommand = command.find_subcommand(name).ok_or("there is no such command")?;
    let judge =
        subcommand.clone().mut_args(|arg| arg.env(Resettable::Reset).required(false)).no_binary_name(true);
    let mut file = match config_path(typed, environment) {
        Some(path) => ConfigFile::read(path)?,
        None => ConfigFile::default(),
    };

    let (mut settings, mut problems, mut bad) = (Settings::default(), Vec::new(), Vec::new());
    for arg in subcommand.get_arguments() {
        let Some(name) = arg.get_long().filter(|name| !NO_SETTINGS.contains(name)) else { continue };
        let (values, origin) = match given(arg, typed, environment, &mut file) {
            Ok(found) => found,
            Err(problem) => {
                problems.push(problem);
                bad.push(name.to_owned());
                continue;
            }
        };
        let is_list = arg.get_value_delimiter().is_some();
        let setting = Setting { name: name.to_owned(), values, origin, is_list };
        let findings: Vec<String> = setting
            .values
            .iter()
            .filter(|_| setting.origin != Origin::Default)
            .filter_map(|value| {
                let reason = why_refused(&judge, name, value)?;
                Some(format!("{} is {value:?}: {reason}", setting.place()))
            })
            .collect();
        if findings.is_empty() {
            settings.0.push(setting);
        } else {
            problems.extend(findings);
            bad.push(name.to_owned());
        }
    }
    problems.extend(file.rest().into_iter().map(|(place, key)| unknown_key(&judge, &place, &key)));
    let args = typed_args(command, name, &settings)?;
    Ok(Layers { settings, args, problems, bad })
}

fn config_path(typed: &ArgMatches, environment: &Environment) -> Option<PathBuf> {
    let flag = typed.get_raw("config").and_then(|mut values| values.next());
    flag.or_else(|| variable(environment, CONFIG_VARIABLE.as_ref())).map(PathBuf::from)
}

/// An empty variable counts as none: templates leave them behind.
fn variable<'e>(environment: &'e Environment, name: &OsStr) -> Option<&'e OsStr> {
    environment.get(name).map(OsString::as_os_str).filter(|value| !value.is_empty())
}

/// The values of a setting from the place that counts. The file gives its entry away in any case, so that what stays in it is
/// unknown.
fn given(
    arg: &Arg,
    typed: &ArgMatches,
    environment: &Environment,
    file: &mut ConfigFile,
) -> Result<(Vec<OsString>, Origin), String> {
    let in_file = arg.get_long().and_then(|name| file.take(name));
    let id = arg.get_id().as_str();
    if typed.value_source(id) == Some(ValueSource::CommandLine) {
        let values = typed.get_raw(id).into_iter().flatten().map(OsStr::to_owned).collect();
        return Ok((values, Origin::Flag));
    }
    if let Some(name) = arg.get_env()
        && let Some(value) = variable(environment, name)
    {
        let origin = Origin::Environment(name.to_string_lossy().into_owned());
        return Ok((vec![value.to_owned()], origin));
    }
    if let Some(entry) = in_file {
        return entry.map(|(value, line)| (vec![value.into()], Origin::File(file.path.clone(), line)));
    }
    Ok((arg.get_default_values().iter().map(|value| value.into()).collect(), Origin::Default))
}

/// What the flag's own parser has against a value.
fn why_refused(judge: &Command, name: &str, value: &OsStr) -> Option<String> {
    let mut typed = OsString::from(format!("--{name}="));
    typed.push(value);
    let error = judge.clone().try_get_matches_from([typed]).err()?;
    if let Some(reason) = error.source() {
        return Some(reason.to_string());
    }
    match (error.kind(), error.get(ContextKind::ValidValue)) {
        (ErrorKind::InvalidValue, Some(ContextValue::Strings(known))) if !known.is_empty() => {
            Some(format!("it can be {}", known.join(", ")))
        }
        (kind, _) => Some(kind.to_string()),
    }
}

/// clap knows which flag a name is meant to be.
fn unknown_key(judge: &Command, place: &str, key: &str) -> String {
    if NO_SETTINGS.contains(&key) {
        return format!("{place}: {key} is no setting; give --{key} on the command line");
    }
    let mut text = format!("{place}: unknown setting {key:?}");
    let error = judge.clone().try_get_matches_from([format!("--{key}")]).err();
    // Writing to a String does not fail.
    let _ = match error.as_ref().and_then(|error| error.get(ContextKind::SuggestedArg)) {
        Some(ContextValue::String(flag)) => {
            write!(text, "; did you mean {}?", flag.trim_start_matches('-'))
        }
        _ => write!(
            text,
            "; the settings are the flags of `sidecarset {} --help` without their dashes",
            judge.get_name()
        ),
    };
    text
}

/// What clap makes of the settings when all of them are typed.
fn typed_args<A: FromArgMatches>(command: &Command, name: &str, settings: &Settings) -> Result<A, String> {
    let mut line: Vec<OsString> = vec![command.get_name().into(), name.into()];
    for setting in settings.0.iter().filter(|setting| setting.origin != Origin::Default) {
        for value in &setting.values {
            let mut flag = OsString::from(format!("--{}=", setting.name));
            flag.push(value);
            line.push(flag);
        }
    }
    let without_environment = |subcommand: Command| subcommand.mut_args(|arg| arg.env(Resettable::Reset));
    let told = |error: clap::Error| error.to_string().trim_start_matches("error: ").trim_end().to_owned();
    let matches = command.clone().mut_subcommand(name, without_environment).try_get_matches_from(line);
    let matches = matches.map_err(told)?;
    let of_subcommand = matches.subcommand_matches(name).ok_or("another command came out")?;
    A::from_arg_matches(of_subcommand).map_err(told)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::args::Args;

    /// What the settings rely on; a switch that takes no value could not be turned off by a place that wins.
    #[test]
    fn every_flag_is_a_setting_with_a_value_and_a_variable() {
        let command = Args::command();
        for subcommand in SUBCOMMANDS.map(|name| command.find_subcommand(name).expect("it is there")) {
            let mut settings = 0;
            for arg in
                subcommand.get_arguments().filter(|arg| !NO_SETTINGS.contains(&arg.get_long().unwrap_or("-")))
            {
                let name = arg.get_long().expect("every argument has a name");
                assert!(arg.get_action().takes_values(), "--{name} takes no value; see --strict-validation");
                assert!(arg.get_env().is_some(), "--{name} has no variable");
                assert!(
                    !arg.is_required_set(),
                    "--{name}: what is required is checked in checks.rs, with all the rest"
                );
                settings += 1;
            }
            assert!(settings > 10, "saw {settings}");
        }
    }
}
