//! The budget of the process and the policy of who gives way.
//!
//! Protocol, when a reservation asks for more than is free:
//! 1. the idle state that frees most is revoked, by the thread that asks, until there is room; for
//!    one that cannot do without, also the state of those who are between two steps of their work;
//! 2. otherwise those who can shed by themselves and hold most are told to, at their next chunk;
//! 3. and the request is refused. The requester sheds its own state: it never waits for a task,
//!    which might not be running.
//!
//! The last eighth of the budget is for those who cannot do with less than they ask for: an
//! elastic request ([`Reservation::try_grow`]) leaves it alone. Otherwise a sort, which takes all
//! it can get, would starve the scan that feeds it, and the two share a thread.
//!
//! Concurrency: what is free is one atomic counter, from which requests are taken, and so is what a
//! limit is lowered by: it cannot fall below what is held, and a limit that is refused was never
//! seen by anybody. The list of holders is behind a lock that is taken when a holder comes, and
//! when memory is short. While state is revoked two locks of the governor are held: limits are
//! changed one after the other, and so is state revoked, that whoever comes second does not find
//! all of it busy and is refused what the first one makes free: who cannot do without waits for the
//! first one's writing, who can is refused. A revocation only tries the locks
//! of what it revokes, and when it asks for memory it is refused instead of revoking further (a
//! thread-local mark): revocations do not nest, and nobody waits for one that waits.
//!
//! Invariant 1: `reserved <= limit` at all times.

use std::cell::Cell;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, TryLockError, Weak};

use super::allocator;
use super::reservation::{Holder, Reservation};
use super::spill::{SpillIo, SpillSpace, SystemIo};
use super::turns::Turns;
use crate::error::{Error, Result};
use crate::observe;

/// What a governor is made from.
#[derive(Debug, Clone, Default)]
pub struct GovernorOptions {
    /// Bytes that all reservations together may hold; `None` for no limit.
    pub limit_bytes: Option<usize>,
    /// The limit of the process that the limit above is a part of; see [`Governor::set_given`].
    pub given_bytes: Option<usize>,
    /// Directories for spilled state, used in turn; empty for the system's temporary directory.
    pub temp_dirs: Vec<PathBuf>,
    /// Bytes that spilled state may take on disk, all directories together; `None` for no cap.
    pub spill_cap_bytes: Option<u64>,
    /// The system calls of the spill space; `None` for the real ones. Tests make them fail.
    pub spill_io: Option<Arc<dyn SpillIo>>,
}

/// The memory budget of the process; see the module documentation. Clones are the same governor.
#[derive(Clone)]
pub struct Governor {
    shared: Arc<Shared>,
}

struct Shared {
    /// Of the limit what nobody holds.
    free: AtomicUsize,
    limit: AtomicUsize,
    /// The limit of the process; all bits where there is none.
    given: AtomicUsize,
    /// What elastic requests leave free: the larger one while the limit changes.
    headroom: AtomicUsize,
    /// Had while the limit is changed.
    changing: Mutex<()>,
    /// Had while state is revoked.
    revoking: Mutex<()>,
    spill: SpillSpace,
    /// Counted after it was taken from what is free, and no longer before it is given back.
    reserved: AtomicUsize,
    peak: AtomicUsize,
    /// Allocated bytes at the moment they were most, of those moments the governor saw.
    peak_allocated: AtomicUsize,
    /// Reserved bytes at that moment.
    reserved_at_peak: AtomicUsize,
    holders: Mutex<Vec<Weak<Holder>>>,
    turns: Turns,
}

/// What one holder has, its children included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// The name it gave.
    pub who: Arc<str>,
    /// Bytes reserved, slack included.
    pub bytes: usize,
    /// The most it ever had. For a holder with children: a bound, the sum of their peaks.
    pub peak_bytes: usize,
    /// Bytes that it needs to work at all.
    pub minimum: usize,
}

/// Reserved bytes beside allocated ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes reserved now.
    pub reserved: usize,
    /// The most bytes ever reserved.
    pub peak_reserved: usize,
    /// The most bytes allocated at a moment when a reservation changed; 0 when no counting
    /// allocator is installed.
    pub peak_allocated: usize,
    /// Bytes reserved at that moment.
    pub reserved_at_peak: usize,
}

/// A request for memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Want {
    pub(super) bytes: usize,
    /// Whether who asks can do without, and leaves the headroom to those who cannot.
    pub(super) elastic: bool,
}

/// A number of bytes for people: `1.5 MB`, with 1 MB = 2^20 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub u64);

thread_local! {
    /// Whether this thread is revoking somebody's state.
    static REVOKING: Cell<bool> = const { Cell::new(false) };
}

/// Says that this thread is revoking, until it is dropped: also when the revocation panics.
struct RevokingMark;

impl RevokingMark {
    /// `None` when the thread is revoking already.
    fn set() -> Option<RevokingMark> {
        // Not `then_some`: a mark that is made and dropped would take the first one away.
        (!REVOKING.replace(true)).then(|| RevokingMark)
    }
}

impl Drop for RevokingMark {
    fn drop(&mut self) {
        REVOKING.set(false);
    }
}

impl Governor {
    /// A governor with this budget and these places to spill to.
    pub fn new(options: GovernorOptions) -> Self {
        let limit = options.limit_bytes.unwrap_or(usize::MAX);
        let io = options.spill_io.clone().unwrap_or_else(|| Arc::new(SystemIo));
        let spill = SpillSpace::new(&options.temp_dirs, options.spill_cap_bytes, io);
        Governor {
            shared: Arc::new(Shared {
                free: AtomicUsize::new(limit),
                limit: AtomicUsize::new(limit),
                given: AtomicUsize::new(options.given_bytes.unwrap_or(usize::MAX)),
                headroom: AtomicUsize::new(headroom(limit)),
                changing: Mutex::new(()),
                revoking: Mutex::new(()),
                spill,
                reserved: AtomicUsize::new(0),
                peak: AtomicUsize::new(0),
                peak_allocated: AtomicUsize::new(0),
                reserved_at_peak: AtomicUsize::new(0),
                holders: Mutex::new(Vec::new()),
                turns: Turns::default(),
            }),
        }
    }

    /// A governor that counts and never refuses.
    pub fn unlimited() -> Self {
        Governor::new(GovernorOptions::default())
    }

    /// A reservation for a new holder, with `minimum` bytes set aside for it at once.
    ///
    /// # Errors
    /// `OutOfMemory` when the minimum cannot be had, even by revoking.
    pub fn reserve(&self, who: &str, minimum: usize) -> Result<Reservation> {
        self.reserve_under(Arc::from(who), minimum, None)
    }

    pub(super) fn reserve_under(
        &self,
        who: Arc<str>,
        minimum: usize,
        parent: Option<Arc<Holder>>,
    ) -> Result<Reservation> {
        let holder = Arc::new(Holder::new(who, parent));
        let want = Want { bytes: minimum, elastic: false };
        if !self.take(want) && !self.make_room(want, &holder) {
            return Err(self.refusal(&holder.who, minimum));
        }
        Ok(self.register(holder, minimum))
    }

    /// The reservation of a new holder, whose `minimum` is counted already.
    pub(super) fn register(&self, holder: Arc<Holder>, minimum: usize) -> Reservation {
        self.holders(|holders| {
            holders.retain(|h| h.strong_count() > 0);
            holders.push(Arc::downgrade(&holder));
        });
        Reservation::new(self.clone(), holder, minimum)
    }

    /// Bytes that all reservations together may hold; `usize::MAX` for no limit.
    pub fn limit(&self) -> usize {
        self.shared.limit.load(Ordering::SeqCst)
    }

    /// Changes the budget; `None` for no limit. Idle state is revoked when more is held.
    ///
    /// # Errors
    /// `OutOfMemory` when those who work hold more than that; the budget is then as it was, and
    /// has been all the time.
    pub fn set_limit(&self, limit: Option<usize>) -> Result<()> {
        let limit = limit.unwrap_or(usize::MAX);
        let shared = &self.shared;
        let _changing = shared.changing.lock().unwrap_or_else(|e| e.into_inner());
        let before = self.limit();
        shared.headroom.fetch_max(headroom(limit), Ordering::SeqCst);
        let changed = if limit >= before {
            shared.limit.store(limit, Ordering::SeqCst);
            shared.free.fetch_add(limit - before, Ordering::SeqCst);
            true
        } else {
            // Taken for good, as by somebody who cannot do without.
            let want = Want { bytes: before - limit, elastic: false };
            let taken = self.claim(want)
                || RevokingMark::set().is_some_and(|_mark| self.revoke_until(want));
            if taken {
                shared.limit.store(limit, Ordering::SeqCst);
            }
            taken
        };
        shared.headroom.store(headroom(self.limit()), Ordering::SeqCst);
        if changed { Ok(()) } else { Err(self.refusal_within("the new limit", 0, limit)) }
    }

    /// The limit that was given for the process, of which [`Governor::limit`] is what queries may
    /// hold.
    pub fn given(&self) -> Option<usize> {
        let given = self.shared.given.load(Ordering::Relaxed);
        (given < usize::MAX).then_some(given)
    }

    /// Says which limit was given for the process: messages name it, and who keeps the process
    /// within it asks for it. It bounds no reservation.
    pub fn set_given(&self, given: Option<usize>) {
        self.shared.given.store(given.unwrap_or(usize::MAX), Ordering::Relaxed);
    }

    /// Bytes reserved now.
    pub fn reserved(&self) -> usize {
        self.shared.reserved.load(Ordering::SeqCst)
    }

    /// Bytes that elastic requests could have without anybody giving way.
    pub fn free(&self) -> usize {
        self.shared.free.load(Ordering::SeqCst).saturating_sub(self.left_by(true))
    }

    /// What such a request leaves free.
    fn left_by(&self, elastic: bool) -> usize {
        if elastic { self.shared.headroom.load(Ordering::SeqCst) } else { 0 }
    }

    /// Turns of those who need much for a short time.
    pub fn turns(&self) -> &Turns {
        &self.shared.turns
    }

    /// Where state goes that has no room in memory.
    pub fn spill(&self) -> &SpillSpace {
        &self.shared.spill
    }

    /// Present and peak figures.
    pub fn usage(&self) -> Usage {
        let shared = &self.shared;
        Usage {
            reserved: self.reserved(),
            peak_reserved: shared.peak.load(Ordering::Relaxed),
            peak_allocated: shared.peak_allocated.load(Ordering::Relaxed),
            reserved_at_peak: shared.reserved_at_peak.load(Ordering::Relaxed),
        }
    }

    /// Who holds what, those who hold most first; children count with their parents.
    pub fn holdings(&self) -> Vec<Holding> {
        let mut roots: Vec<(*const Holder, Holding)> = Vec::new();
        for holder in self.live_holders() {
            let mut root = &holder;
            while let Some(parent) = &root.parent {
                root = parent;
            }
            let key = Arc::as_ptr(root);
            let at = roots.iter().position(|(k, _)| *k == key).unwrap_or_else(|| {
                let who = root.who.clone();
                roots.push((key, Holding { who, bytes: 0, peak_bytes: 0, minimum: 0 }));
                roots.len() - 1
            });
            let holding = &mut roots[at].1;
            holding.bytes += holder.bytes.load(Ordering::Relaxed);
            holding.peak_bytes += holder.peak.load(Ordering::Relaxed);
            holding.minimum += holder.minimum.load(Ordering::Relaxed);
        }
        let mut holdings: Vec<Holding> = roots.into_iter().map(|(_, h)| h).collect();
        holdings.sort_by_key(|h| std::cmp::Reverse(h.bytes));
        holdings
    }

    /// The most slack that one reservation keeps.
    pub(super) fn slack_max(&self) -> usize {
        (self.limit() / 1024).min(64 << 10)
    }

    /// Takes the bytes if they are free.
    pub(super) fn take(&self, want: Want) -> bool {
        let taken = self.claim(want);
        if taken {
            self.count(want.bytes);
        }
        taken
    }

    /// Takes the bytes from what is free, if they are, for whoever counts them.
    fn claim(&self, want: Want) -> bool {
        let left = self.left_by(want.elastic);
        let sub = |free: usize| free.checked_sub(want.bytes).filter(|&rest| rest >= left);
        self.shared.free.fetch_update(Ordering::SeqCst, Ordering::SeqCst, sub).is_ok()
    }

    /// Counts bytes that were claimed as reserved.
    fn count(&self, bytes: usize) {
        let now = self.shared.reserved.fetch_add(bytes, Ordering::SeqCst) + bytes;
        self.shared.peak.fetch_max(now, Ordering::Relaxed);
        self.sample(now);
    }

    /// Gives `n` bytes back.
    pub(super) fn give(&self, n: usize) {
        if n > 0 {
            // Before they are given back: the memory may still be allocated.
            self.sample(self.reserved());
            self.shared.reserved.fetch_sub(n, Ordering::SeqCst);
            self.shared.free.fetch_add(n, Ordering::SeqCst);
        }
    }

    /// Compares with the allocator. Two threads at once may mix up their pairs; a metric only.
    fn sample(&self, reserved: usize) {
        let Some(allocated) = allocator::live_bytes() else { return };
        if allocated > self.shared.peak_allocated.load(Ordering::Relaxed) {
            self.shared.peak_allocated.store(allocated, Ordering::Relaxed);
            self.shared.reserved_at_peak.store(reserved, Ordering::Relaxed);
        }
    }

    /// Takes the bytes after revoking idle state of others, or presses those who run and says no.
    pub(super) fn make_room(&self, want: Want, asking: &Arc<Holder>) -> bool {
        if want.bytes > self.limit().saturating_sub(self.left_by(want.elastic)) {
            return false;
        }
        if let Some(_mark) = RevokingMark::set()
            && self.revoke_until(want)
        {
            self.count(want.bytes);
            return true;
        }
        self.press(want.bytes, asking);
        false
    }

    /// Claims the bytes after revoking; says whether it could.
    fn revoke_until(&self, want: Want) -> bool {
        let one = match want.elastic {
            // Who can do without waits for nobody.
            true => match self.shared.revoking.try_lock() {
                Err(TryLockError::WouldBlock) => None,
                Err(TryLockError::Poisoned(one)) => Some(one.into_inner()),
                Ok(one) => Some(one),
            },
            false => Some(self.shared.revoking.lock().unwrap_or_else(|e| e.into_inner())),
        };
        let Some(_one) = one else { return false };
        if self.claim(want) {
            return true;
        }
        let mut victims: Vec<_> = self
            .live_holders()
            .iter()
            .filter_map(|holder| Some((holder.victim()?, holder.meter.clone())))
            .filter(|(state, _)| !want.elastic || !state.is_at_work())
            .map(|(state, meter)| (state.revocable_bytes(), state, meter))
            .filter(|(bytes, ..)| *bytes > 0)
            .collect();
        victims.sort_by_key(|(bytes, ..)| std::cmp::Reverse(*bytes));
        for (_, state, meter) in victims {
            // What is spilled counts for the victim.
            let _at = observe::at(meter);
            // A victim is asked for more than is missing just now, or the next kilobyte would
            // make it write again.
            let needed = want.bytes.saturating_add(self.left_by(want.elastic));
            let missing = needed.saturating_sub(self.shared.free.load(Ordering::SeqCst));
            let wanted = missing.max(self.shared.headroom.load(Ordering::SeqCst) / 2);
            match state.revoke(wanted) {
                Ok(freed) => tracing::debug!(freed, wanted, "revoked idle state"),
                // The state is still whole, or its owner will meet the error at its next step.
                Err(error) => tracing::warn!(%error, "idle state could not be revoked"),
            }
            if self.claim(want) {
                return true;
            }
        }
        self.claim(want)
    }

    /// Tells those who hold most, and can shed, to do so at their next chunk.
    fn press(&self, n: usize, asking: &Arc<Holder>) {
        let mut holders = self.live_holders();
        holders.retain(|h| !Arc::ptr_eq(h, asking) && h.sheddable() > 0);
        holders.sort_by_key(|h| std::cmp::Reverse(h.sheddable()));
        let mut asked = 0;
        for holder in holders {
            if asked >= n {
                break;
            }
            // It is asked for half of what it holds.
            asked += holder.sheddable() / 2;
            holder.press();
        }
    }

    /// The error for `asked` bytes that could not be had.
    pub(super) fn refusal(&self, who: &str, asked: usize) -> Error {
        self.refusal_within(who, asked, self.limit())
    }

    fn refusal_within(&self, who: &str, asked: usize, limit: usize) -> Error {
        let holdings = self.holdings();
        let top: Vec<String> = holdings
            .iter()
            .filter(|h| h.bytes > 0)
            .take(5)
            .map(|h| format!("{} {}", h.who, Bytes(h.bytes as u64)))
            .collect();
        let of_given = |given| format!(" of the limit of {}", Bytes(given as u64));
        let detail = format!(
            "{} of the {} that queries have{} are held: {}; raise the limit (--memory, \
             memory_limit)",
            Bytes(self.reserved() as u64),
            Bytes(limit as u64),
            self.given().map_or_else(String::new, of_given),
            if top.is_empty() { "nothing".to_owned() } else { top.join(", ") },
        );
        Error::OutOfMemory { who: who.to_owned(), asked_bytes: asked, detail }
    }

    fn live_holders(&self) -> Vec<Arc<Holder>> {
        self.holders(|holders| holders.iter().filter_map(Weak::upgrade).collect())
    }

    fn holders<R>(&self, f: impl FnOnce(&mut Vec<Weak<Holder>>) -> R) -> R {
        f(&mut self.shared.holders.lock().unwrap_or_else(|e| e.into_inner()))
    }
}

/// What elastic requests leave free of a limit.
fn headroom(limit: usize) -> usize {
    if limit == usize::MAX { 0 } else { limit / 8 }
}

impl fmt::Debug for Governor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Governor({} of {} bytes)", self.reserved(), self.limit())
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["KB", "MB", "GB", "TB", "PB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let mut value = self.0 as f64 / 1024.0;
        let mut unit = 0;
        while value >= 1024.0 && unit + 1 < UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        write!(f, "{value:.1} {}", UNITS[unit])
    }
}

/// Reads `128MB`, `1.5 GB`, `4096`; units are binary, as in [`Bytes`]' display.
impl FromStr for Bytes {
    type Err = Error;

    fn from_str(text: &str) -> Result<Bytes> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let factor: u64 = match unit.trim().to_ascii_uppercase().as_str() {
            "" | "B" => 1,
            "K" | "KB" | "KIB" => 1 << 10,
            "M" | "MB" | "MIB" => 1 << 20,
            "G" | "GB" | "GIB" => 1 << 30,
            "T" | "TB" | "TIB" => 1 << 40,
            other => {
                let message = format!("`{other}` is not a unit; use KB, MB, GB or TB");
                return Err(Error::input(message));
            }
        };
        let bytes = match number.parse::<u64>() {
            Ok(whole) => whole.checked_mul(factor),
            Err(_) => number.parse::<f64>().ok().map(|n| (n * factor as f64) as u64),
        };
        let bytes = bytes.filter(|&bytes| bytes > 0).map(Bytes);
        let message = || Error::input(format!("`{text}` is not a size; try 512MB or 2GB"));
        bytes.ok_or_else(message)
    }
}

#[cfg(test)]
mod tests;
