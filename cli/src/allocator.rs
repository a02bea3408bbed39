//! The allocator of the process, and how soon it gives freed memory back.
//!
//! By default mimalloc keeps what is freed for about a second and takes memory from the system in
//! large arenas: fast, but a sort that held 73 MB had 184 MB resident. Where a limit was asked
//! for, freed memory goes back soon: at once that sort had 103 MB resident, after 100 ms 125 MB.
//! Not at once, because pages that are given back and taken again cost much: aggregating 60 M
//! groups under 128 MB took 14 s of the system's time instead of 5 s. The allocator reads its
//! options from the environment before the program begins, hence the program begins again.

use std::env;
use std::process::Command;

use gristmill::memory::Counting;
use mimalloc::MiMalloc;

/// All allocations of the process are counted: what the reservations say is checked against it.
#[global_allocator]
static ALLOCATOR: Counting<MiMalloc> = Counting::new(MiMalloc);

/// Freed memory is given back after 50 ms, and arenas are not taken as a whole.
const OPTIONS: [(&str, &str); 2] =
    [("MIMALLOC_PURGE_DELAY", "50"), ("MIMALLOC_ARENA_EAGER_COMMIT", "0")];

/// Begins the program again, in the same process, with an allocator that gives freed memory back
/// soon; returns when it is one already, or where that cannot be done.
#[cfg(unix)]
pub fn keep_little() {
    use std::os::unix::process::CommandExt;

    if OPTIONS.iter().any(|(name, _)| env::var_os(name).is_some()) {
        return;
    }
    let Ok(program) = env::current_exe() else { return };
    let mut again = Command::new(program);
    if let Some(name) = env::args_os().next() {
        again.arg0(name);
    }
    // Returns only when it fails: then the default has to do.
    let _ = again.args(env::args_os().skip(1)).envs(OPTIONS).exec();
}

/// Begins the program again, where that can be done.
#[cfg(not(unix))]
pub fn keep_little() {}
