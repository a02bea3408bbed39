//! SET, RESET, and what there is to set.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use datafusion_sql::parser::ResetStatement;
use datafusion_sql::sqlparser::ast::{Expr, ObjectName, Set, UnaryOperator, Value, ValueWithSpan};
use gristmill_engine::memory::Bytes;
use gristmill_engine::query::{Engine, cores, workers_within};
use gristmill_engine::{Error, Result};

use super::names::place_of;
use super::{Change, Command, Planner};
use crate::files;
use crate::parameters::{Parameter, Parameters};
use crate::sql::{nearest, with_place};

/// Most threads that can be asked for.
const THREADS_MAX: usize = 1024;

/// What the allocator keeps for a thread, that no reservation knows of and that it does not give
/// back when it is asked to: a sort to an Arrow file with 16 threads had 70 MB more resident than
/// allocated.
const THREAD_BYTES: usize = 4 << 20;

/// What a limit must leave beside the bytes that are not the engine's.
const MEMORY_MIN: usize = 16 << 20;

/// One setting.
pub(super) struct Setting {
    pub(super) name: &'static str,
    /// Other names that people know it by.
    also: &'static [&'static str],
    pub(super) about: &'static str,
}

/// All settings, sorted.
pub(super) const SETTINGS: [Setting; 6] = [
    Setting {
        name: "any_order",
        also: &[],
        about: "whether rows may come in any order where no ORDER BY asks for one",
    },
    Setting {
        name: "memory_limit",
        also: &["max_memory"],
        about: "most memory that all queries together may take, such as '512MB', or 'none'",
    },
    Setting {
        name: "spill_limit",
        also: &["max_temp_directory_size"],
        about: "most disk space that spilled state may take, such as '20GB', or 'none'",
    },
    Setting {
        name: "temp_directory",
        also: &["temp_directories"],
        about: "where state is spilled to; several directories are parted by commas",
    },
    Setting { name: "threads", also: &["worker_threads"], about: "worker threads" },
    Setting {
        name: "time_limit",
        also: &["statement_timeout"],
        about: "longest time that a statement may run, such as '30s' or '5min', or 'none'",
    },
];

/// The values of all settings.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    /// `None` for one per core.
    pub(crate) threads: Option<usize>,
    /// Of the process, where bytes beside the engine's count.
    pub(crate) memory_limit: Option<usize>,
    pub(crate) temp_dirs: Vec<PathBuf>,
    pub(crate) spill_limit: Option<u64>,
    pub(crate) any_order: bool,
    pub(crate) time_limit: Option<Duration>,
    /// Bytes of the memory limit that are not the engine's.
    pub(crate) outside: usize,
    /// The values in the beginning.
    pub(crate) first: Option<Arc<Settings>>,
}

impl Settings {
    /// The setting of that name.
    pub(super) fn find(name: &str) -> Option<&'static Setting> {
        SETTINGS.iter().find(|setting| setting.name == name || setting.also.contains(&name))
    }

    /// The value of a setting as a text that sets it.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        let size = |bytes: Option<u64>| bytes.map_or("none".to_string(), written_size);
        Some(match name {
            "any_order" => self.any_order.to_string(),
            "memory_limit" => size(self.memory_limit.map(|bytes| bytes as u64)),
            "spill_limit" => size(self.spill_limit),
            "temp_directory" if self.temp_dirs.is_empty() => {
                std::env::temp_dir().display().to_string()
            }
            "temp_directory" => {
                let paths = self.temp_dirs.iter().map(|path| path.display().to_string());
                paths.collect::<Vec<_>>().join(",")
            }
            "threads" => self.threads.unwrap_or_else(cores).to_string(),
            "time_limit" => {
                self.time_limit.map_or("none".to_string(), |limit| format!("{limit:?}"))
            }
            _ => return None,
        })
    }

    /// Sets a value, or what it was in the beginning; without a name, all of them.
    ///
    /// # Errors
    /// `Input` when the value is none for this setting.
    pub(super) fn set(&mut self, name: Option<&'static str>, value: Option<&str>) -> Result<()> {
        let first = self.first.clone();
        match (name, value, first.as_deref()) {
            (Some(name), Some(value), _) => self.set_value(name, value)?,
            (Some("any_order"), None, Some(first)) => self.any_order = first.any_order,
            (Some("memory_limit"), None, Some(first)) => self.memory_limit = first.memory_limit,
            (Some("spill_limit"), None, Some(first)) => self.spill_limit = first.spill_limit,
            (Some("temp_directory"), None, Some(first)) => {
                self.temp_dirs.clone_from(&first.temp_dirs);
            }
            (Some("threads"), None, Some(first)) => self.threads = first.threads,
            (Some("time_limit"), None, Some(first)) => self.time_limit = first.time_limit,
            (None, _, Some(values)) => {
                *self = Settings { first: first.clone(), ..values.clone() };
            }
            _ => return Err(Error::internal("a setting without a first value")),
        }
        Ok(())
    }

    fn set_value(&mut self, name: &'static str, value: &str) -> Result<()> {
        let wrong = |expected: &str| {
            Error::input(format!("the setting {name} cannot be '{value}'; use {expected}"))
        };
        match name {
            "any_order" => {
                self.any_order = files::truth(value).ok_or_else(|| wrong("true or false"))?;
            }
            "memory_limit" => {
                let limit =
                    size(value).ok_or_else(|| wrong("a size such as '512MB', or 'none'"))?;
                let limit = limit.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
                if limit.is_some_and(|limit| limit < self.outside + MEMORY_MIN) {
                    let least = written_size((self.outside + MEMORY_MIN) as u64);
                    return Err(wrong(&format!("at least {least}")));
                }
                self.memory_limit = limit;
            }
            "spill_limit" => {
                let limit = size(value).ok_or_else(|| wrong("a size such as '20GB', or 'none'"))?;
                self.spill_limit = limit;
            }
            "temp_directory" => {
                let paths: Vec<PathBuf> = value.split(',').map(|p| p.trim().into()).collect();
                if let Some(missing) = paths.iter().find(|path| !Path::new(path).is_dir()) {
                    let message = format!("there is no directory {}", missing.display());
                    return Err(Error::input(format!("{message} for temp_directory")));
                }
                self.temp_dirs = paths;
            }
            "threads" => {
                let count = value.parse().ok().filter(|count| (1..=THREADS_MAX).contains(count));
                let range = format!("a number from 1 to {THREADS_MAX}");
                self.threads = Some(count.ok_or_else(|| wrong(&range))?);
            }
            _ => {
                let limit = time(value).ok_or_else(|| wrong("a time such as '30s', or 'none'"))?;
                self.time_limit = limit;
            }
        }
        Ok(())
    }

    /// Makes the engine do what is set; `before` is what it does now.
    ///
    /// # Errors
    /// `OutOfMemory` when more is held than the new limit, `Io` when the system gives no threads.
    pub(crate) fn apply(&self, before: &Settings, engine: &Engine) -> Result<()> {
        let memory = engine.memory();
        memory.set_given(self.given());
        if self.engine_limit() != before.engine_limit() {
            let changed = memory.set_limit(self.engine_limit());
            changed.inspect_err(|_| memory.set_given(before.given()))?;
        }
        let threads = self.engine_threads();
        if threads != engine.threads() {
            self.tell_threads();
            engine.set_threads(Some(threads))?;
        }
        let spill = engine.memory().spill();
        if self.temp_dirs != before.temp_dirs {
            spill.set_directories(&self.temp_dirs);
        }
        if self.spill_limit != before.spill_limit {
            spill.set_cap(self.spill_limit);
        }
        Ok(())
    }

    /// Threads that are started: fewer than are set where the memory limit is small, because the
    /// allocator keeps some memory for each, also for those that have nothing to do.
    pub(crate) fn engine_threads(&self) -> usize {
        let limit = self.memory_limit.map_or(usize::MAX, |limit| self.inside(limit));
        workers_within(limit, self.asked_threads())
    }

    fn asked_threads(&self) -> usize {
        self.threads.unwrap_or_else(cores)
    }

    /// Logs that fewer threads are started than are set.
    pub(crate) fn tell_threads(&self) {
        let (started, asked) = (self.engine_threads(), self.asked_threads());
        if started < asked {
            tracing::info!(started, asked, "fewer threads, because the memory limit is small");
        }
    }

    /// The limit of the process, where that is what the limit is for.
    pub(crate) fn given(&self) -> Option<usize> {
        self.memory_limit.filter(|_| self.outside > 0)
    }

    /// Bytes that the engine may hold. Where the limit is for the process, what the allocator keeps
    /// for each thread is left alone too; the first two are counted with the process.
    pub(crate) fn engine_limit(&self) -> Option<usize> {
        let threads = if self.outside > 0 { self.engine_threads().saturating_sub(2) } else { 0 };
        let kept = threads.saturating_mul(THREAD_BYTES);
        self.memory_limit.map(|limit| self.inside(limit).saturating_sub(kept))
    }

    fn inside(&self, limit: usize) -> usize {
        limit.saturating_sub(self.outside)
    }
}

impl Planner<'_> {
    pub(super) fn set(&mut self, set: Set) -> Result<Command> {
        let Set::SingleAssignment { variable, values, .. } = set else {
            return Err(self.unsupported("SET of this"));
        };
        let setting = self.setting(&variable)?;
        let parts = values.iter().map(|value| self.value(value));
        let value = parts.collect::<Result<Vec<_>>>()?.join(",");
        let value = (!value.eq_ignore_ascii_case("default")).then_some(value);
        // Tried here, to find what is wrong with it where it stands.
        let mut tried = self.scope.settings().clone();
        let found = tried.set(Some(setting.name), value.as_deref());
        found.map_err(|error| with_place(error, None, self.position()))?;
        Ok(Command::Change(Change::Set { name: Some(setting.name), value }))
    }

    pub(super) fn reset(&mut self, reset: &ResetStatement) -> Result<Command> {
        let ResetStatement::Variable(name) = reset;
        let all = name.to_string().eq_ignore_ascii_case("all");
        let name = if all { None } else { Some(self.setting(name)?.name) };
        Ok(Command::Change(Change::Set { name, value: None }))
    }

    fn setting(&self, variable: &ObjectName) -> Result<&'static Setting> {
        let name = variable.to_string().to_lowercase();
        if let Some(setting) = Settings::find(&name) {
            return Ok(setting);
        }
        let known = SETTINGS.iter().flat_map(|s| s.also.iter().copied().chain([s.name]));
        let hint = match nearest(&name, known) {
            Some(near) => format!("did you mean {near}?"),
            None => {
                let names: Vec<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
                format!("the settings are {}", names.join(", "))
            }
        };
        let place = Some(place_of(variable)).filter(|place| place.line > 0);
        let place = place.unwrap_or_else(|| self.position().clone());
        Err(Error::input_at(format!("there is no setting {name}; {hint}"), place))
    }

    /// The value of a setting as a text.
    fn value(&self, value: &Expr) -> Result<String> {
        let of = |value: &Value| match value {
            Value::Number(digits, _) => Some(digits.clone()),
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => Some(text.clone()),
            Value::Boolean(value) => Some(value.to_string()),
            Value::Placeholder(name) => text_of(self.parameters, name.get(1..).unwrap_or_default()),
            _ => None,
        };
        let text = match value {
            Expr::Value(ValueWithSpan { value, .. }) => of(value),
            Expr::Identifier(ident) => Some(ident.value.clone()),
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match expr.as_ref() {
                Expr::Value(ValueWithSpan { value, .. }) => {
                    of(value).map(|text| format!("-{text}"))
                }
                _ => None,
            },
            _ => None,
        };
        text.ok_or_else(|| self.unsupported(&format!("SET to `{value}`; use a constant")))
    }
}

fn text_of(parameters: &Parameters, name: &str) -> Option<String> {
    match parameters.get(name)? {
        Parameter::Text(text) => Some(text.clone()),
        _ => None,
    }
}

/// A size, or none.
fn size(text: &str) -> Option<Option<u64>> {
    match text.to_ascii_lowercase().as_str() {
        "none" | "unlimited" | "-1" => Some(None),
        _ => text.parse::<Bytes>().ok().map(|bytes| Some(bytes.0)),
    }
}

/// The size as a text that is read as the same.
fn written_size(bytes: u64) -> String {
    let units = [(40, "TB"), (30, "GB"), (20, "MB"), (10, "KB")];
    match units.iter().find(|(shift, _)| bytes > 0 && bytes.is_multiple_of(1 << shift)) {
        Some((shift, unit)) => format!("{}{unit}", bytes >> shift),
        None => format!("{bytes}B"),
    }
}

/// A time, or none.
fn time(text: &str) -> Option<Option<Duration>> {
    let text = text.trim().to_ascii_lowercase();
    if text == "none" || text == "0" {
        return Some(None);
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let seconds = match unit.trim() {
        "ms" => 0.001,
        "" | "s" | "sec" | "seconds" => 1.0,
        "m" | "min" | "minutes" => 60.0,
        "h" | "hours" => 3600.0,
        _ => return None,
    };
    let limit = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
    (limit > Duration::ZERO).then_some(Some(limit))
}

#[cfg(test)]
mod tests {
    use gristmill_engine::memory::GovernorOptions;
    use gristmill_engine::query::EngineOptions;

    use super::*;

    #[test]
    fn times_and_sizes_are_read_and_written() {
        assert_eq!(time("30s"), Some(Some(Duration::from_secs(30))));
        assert_eq!(time("1.5 min"), Some(Some(Duration::from_secs(90))));
        assert_eq!(time("250ms"), Some(Some(Duration::from_millis(250))));
        assert_eq!((time("none"), time("0")), (Some(None), Some(None)));
        assert!(["", "s", "5 fortnights", "-1s", "1e400"].iter().all(|text| time(text).is_none()));
        for written in ["512MB", "2GB", "1TB", "7B", "3KB"] {
            let bytes = size(written).flatten().expect(written);
            assert_eq!(written_size(bytes), written);
        }
        assert_eq!(size("none"), Some(None));
        assert_eq!(size("much"), None);
    }

    #[test]
    fn threads_follow_the_memory_limit() {
        const MB: usize = 1 << 20;
        let small = Settings {
            threads: Some(5),
            memory_limit: Some(96 * MB),
            temp_dirs: Vec::new(),
            spill_limit: None,
            any_order: false,
            time_limit: None,
            outside: 40 * MB,
            first: None,
        };
        let threads = Some(small.engine_threads());
        let memory = GovernorOptions { limit_bytes: small.engine_limit(), ..Default::default() };
        let engine = Engine::new(EngineOptions { threads, memory }).expect("threads");
        assert_eq!(engine.threads(), 3);
        let large = Settings { memory_limit: Some(200 * MB), ..small.clone() };
        large.apply(&small, &engine).expect("nothing is held");
        assert_eq!((engine.threads(), large.get("threads")), (5, Some("5".to_string())));
        small.apply(&large, &engine).expect("nothing is held");
        assert_eq!((engine.threads(), small.get("threads")), (3, Some("5".to_string())));
        // What the third thread keeps is not the engine's, where the limit is for the process.
        assert_eq!(small.engine_limit(), Some(56 * MB - THREAD_BYTES));
        assert_eq!(Settings { outside: 0, ..small.clone() }.engine_limit(), Some(96 * MB));
        // Messages name the limit that was set, not what it comes to.
        let tell = || engine.memory().reserve("a test", 60 * MB).err().map(|e| e.to_string());
        let told = tell().expect("refused");
        assert!(
            told.contains("of the 52.0 MB that queries have of the limit of 96.0 MB"),
            "{told}"
        );
        large.apply(&small, &engine).expect("nothing is held");
        assert_eq!(engine.memory().given(), Some(200 * MB));
    }
}
