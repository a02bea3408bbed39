//! A session from the command line's options.

use std::fs;

use gristmill::{Config, Error, Parameters, Result, Session};

use crate::args::Options;
#[cfg(target_os = "linux")]
use crate::resident;

/// What the process takes before a query holds anything: the program, the SQL front end and its
/// functions, thread stacks and the allocator's own. Measured with `query "select 1"` and the
/// TPC-H queries; the budget of the engine is the limit of the process less this.
pub const FIXED_BYTES: u64 = 44 << 20;

/// The smallest limit that leaves room to work.
pub const LIMIT_BYTES_MIN: u64 = FIXED_BYTES + (16 << 20);

/// A session with the tables of the command line.
///
/// # Errors
/// `Input` when a file's ending names no format, or two files or values have one name.
pub fn session(options: &Options) -> Result<Session> {
    let share = || (machine_bytes() / 5 * 4).max(LIMIT_BYTES_MIN);
    let limit = options.memory.unwrap_or_else(share);
    let session = Session::new(Config {
        threads: options.threads.map(usize::from),
        memory_limit: usize::try_from(limit).ok(),
        memory_outside: usize::try_from(FIXED_BYTES).unwrap_or(usize::MAX),
        temp_dirs: options.temp_dirs.clone(),
        ..Config::default()
    })?;
    // Where what is resident cannot be read, the allocator's own delay has to do.
    #[cfg(target_os = "linux")]
    let _ = resident::keep_within(session.engine().memory().clone());
    for (at, (name, path)) in options.tables.iter().enumerate() {
        if options.tables[..at].iter().any(|(before, _)| before == name) {
            return Err(Error::input(format!("--table gives the name {name} to two files")));
        }
        session.register(name, path)?;
    }
    for (at, (name, _)) in options.params.iter().enumerate() {
        if options.params[..at].iter().any(|(before, _)| before == name) {
            return Err(Error::input(format!("--param gives the name {name} two values")));
        }
    }
    Ok(session)
}

/// The values that the command line gives to parameters.
pub fn parameters(options: &Options) -> Parameters {
    let pairs = options.params.iter();
    pairs.fold(Parameters::new(), |all, (name, value)| all.with(name, value.as_str()))
}

/// Memory of the machine, or of the control group when that is less.
fn machine_bytes() -> u64 {
    let from_kilobytes = |line: &str| {
        let number = line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim();
        number.parse::<u64>().ok().map(|kilobytes| kilobytes << 10)
    };
    let machine = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| text.lines().find_map(from_kilobytes))
        .unwrap_or(4 << 30);
    let group = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok())
        .min();
    group.map_or(machine, |group| machine.min(group))
}
