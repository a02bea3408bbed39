//! The allocator of the process, and how soon it gives freed memory back.
//!
//! By default mimalloc keeps what is freed for about a second and takes memory from the system in
//! large arenas: fast, but a sort that held 73 MB had 184 MB resident. Where a limit was asked
//! for, freed memory goes back soon: at once that sort had 103 MB resident, after 100 ms 125 MB.
//! Not at once, because pages that are given back and taken again cost much: aggregating 60 M
//! groups under 128 MB took 14 s of the system's time instead of 5 s. The smaller the limit, the
//! sooner: a sort of long rows frees more than a gigabyte a second, and what it freed in 50 ms was
//! as much as a limit of 64 MB. The allocator reads its options from the environment before the
//! program begins, hence the program begins again.

use std::env;
use std::process::Command;

use gristmill::memory::Counting;
use mimalloc::MiMalloc;

/// All allocations of the process are counted: what the reservations say is checked against it.
#[global_allocator]
static ALLOCATOR: Counting<MiMalloc> = Counting::new(MiMalloc);

/// Milliseconds after which freed memory is given back.
const DELAY: &str = "MIMALLOC_PURGE_DELAY";
/// Whether arenas are taken as a whole.
const EAGER: &str = "MIMALLOC_ARENA_EAGER_COMMIT";

/// The delay under a limit, which grows with its square: of larger ones a smaller part is in use,
/// and there is room for more. Groups under 256 MB took 2.9 s of the system's time with 65 ms and
/// 2.1 s with a second. The delay is no bound: mimalloc looks for what is due each few thousand
/// allocations of a thread. Where nothing else keeps the limit (see `resident`), it is as short as
/// what is freed meanwhile, at a gigabyte a second, is a small part of the limit.
fn delay_ms(limit: u64) -> u64 {
    let megabytes = limit >> 20;
    let squared = megabytes.saturating_mul(megabytes);
    match cfg!(target_os = "linux") {
        true => (squared / 200).clamp(5, 1000),
        false => (squared / 1000).clamp(5, 300),
    }
}

/// Begins the program again, in the same process, with an allocator that gives freed memory back
/// as soon as a limit of so many bytes asks for; returns when it is one already, or where that
/// cannot be done.
#[cfg(unix)]
pub fn keep_little(limit: u64) {
    use std::os::unix::process::CommandExt;

    if [DELAY, EAGER].iter().any(|name| env::var_os(name).is_some()) {
        return;
    }
    let options = [(DELAY, delay_ms(limit).to_string()), (EAGER, "0".to_owned())];
    let Ok(program) = env::current_exe() else { return };
    let mut again = Command::new(program);
    if let Some(name) = env::args_os().next() {
        again.arg0(name);
    }
    // Returns only when it fails: then the default has to do.
    let _ = again.args(env::args_os().skip(1)).envs(options).exec();
}

/// Begins the program again, where that can be done.
#[cfg(not(unix))]
pub fn keep_little(_: u64) {}
