//! One holder's share of the budget.
//!
//! A [`Reservation`] is owned by one thread at a time, so growing it by a few bytes is an addition
//! in a plain field: it takes bytes from the governor in larger steps and keeps the rest as slack.
//! The slack is an eighth of what the holder uses, at most [`Governor::slack_max`].
//!
//! Pieces split off a reservation, and its children, may live on other threads. They report under
//! the same holder (pieces) or under a holder of their own with the parent's name (children).
//!
//! Invariants:
//! 1. `granted >= max(used, minimum)`, so growing up to the minimum never fails.
//! 2. The sum of `granted` over the pieces of a holder is the holder's `bytes`, and the sum over
//!    all holders is what the governor counts as reserved.
//! 3. The sum of `minimum` over the pieces of a holder is the holder's `minimum`.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use super::governor::{Governor, Want};
use super::lender::Lender;
use super::turns::Check;
use crate::batch::{Charge, SetAside};
use crate::error::{Error, Result};
use crate::observe::{self, Meter};

/// State that its owner does not work on at the moment, and that can be moved out of memory by
/// whoever needs the bytes. The implementation keeps the state behind a lock, takes it with
/// `try_lock` and answers 0 when it is busy.
pub trait Revocable: Send + Sync {
    /// Bytes that [`Revocable::revoke`] could free right now; an estimate, never blocks.
    fn revocable_bytes(&self) -> usize;

    /// Moves at least `wanted` bytes out of memory, if there are so many, shrinks the reservation
    /// that they were charged to, and says how many they were. Must not grow a reservation
    /// beyond its minimum: memory for the move is part of the minimum.
    ///
    /// # Errors
    /// `Io` or `OutOfMemory` when the spill space refuses; the state must then still be whole and
    /// in memory, or its owner must meet the error at its next step.
    fn revoke(&self, wanted: usize) -> Result<usize>;

    /// Whether the owner works on it by turns: then only those get it who cannot do without.
    fn is_at_work(&self) -> bool {
        false
    }
}

/// The target of a holder that nobody presses.
const NO_TARGET: usize = usize::MAX;

/// What the governor knows about one holder.
pub(super) struct Holder {
    pub(super) who: Arc<str>,
    pub(super) parent: Option<Arc<Holder>>,
    pub(super) bytes: AtomicUsize,
    pub(super) peak: AtomicUsize,
    pub(super) minimum: AtomicUsize,
    /// Of the operator that it is of, where operators are measured.
    pub(super) meter: Option<Arc<Meter>>,
    /// The holder should come down to this many bytes; [`NO_TARGET`] when it is not pressed.
    target: AtomicUsize,
    /// Whether the holder has ever asked if it is pressed, hence can shed state by itself.
    sheds: AtomicBool,
    pub(super) revocable: Mutex<Option<Weak<dyn Revocable>>>,
}

impl Holder {
    pub(super) fn new(who: Arc<str>, parent: Option<Arc<Holder>>) -> Self {
        let parents = parent.as_ref().and_then(|parent| parent.meter.clone());
        Holder {
            who,
            parent,
            meter: parents.or_else(observe::at_now),
            bytes: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            minimum: AtomicUsize::new(0),
            target: AtomicUsize::new(NO_TARGET),
            sheds: AtomicBool::new(false),
            revocable: Mutex::new(None),
        }
    }

    fn add(&self, bytes: usize) {
        let now = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak.fetch_max(now, Ordering::Relaxed);
        if let Some(meter) = &self.meter {
            meter.reserve(bytes);
        }
    }

    fn sub(&self, bytes: usize) {
        if let Some(meter) = &self.meter {
            meter.release(bytes);
        }
        let now = self.bytes.fetch_sub(bytes, Ordering::Relaxed) - bytes;
        if now <= self.target.load(Ordering::Relaxed) {
            self.target.store(NO_TARGET, Ordering::Relaxed);
        }
    }

    /// Bytes that the holder could shed by itself and has not been asked for yet.
    pub(super) fn sheddable(&self) -> usize {
        if !self.sheds.load(Ordering::Relaxed) || self.is_pressed() {
            return 0;
        }
        self.bytes.load(Ordering::Relaxed).saturating_sub(self.minimum.load(Ordering::Relaxed))
    }

    /// Asks the holder to come down to half of what it holds, or to its minimum.
    pub(super) fn press(&self) {
        let half = self.bytes.load(Ordering::Relaxed) / 2;
        self.target.store(half.max(self.minimum.load(Ordering::Relaxed)), Ordering::Relaxed);
    }

    fn is_pressed(&self) -> bool {
        self.target.load(Ordering::Relaxed) != NO_TARGET
    }

    pub(super) fn victim(&self) -> Option<Arc<dyn Revocable>> {
        let revocable = self.revocable.lock().unwrap_or_else(|e| e.into_inner());
        revocable.as_ref().and_then(Weak::upgrade)
    }
}

/// Bytes of the budget that are this holder's; see the module documentation. Dropping it gives
/// them back.
pub struct Reservation {
    governor: Governor,
    holder: Arc<Holder>,
    /// What the owner said it uses.
    used: usize,
    /// What the governor counts for this piece.
    granted: usize,
    minimum: usize,
    /// What `used` may grow to without asking; see [`Reservation::ensure`].
    ensured: usize,
    /// Who gets how much of it back.
    lender: Option<(Lender, usize)>,
}

impl Reservation {
    pub(super) fn new(governor: Governor, holder: Arc<Holder>, minimum: usize) -> Self {
        holder.add(minimum);
        holder.minimum.fetch_add(minimum, Ordering::Relaxed);
        let (used, granted, ensured, lender) = (0, minimum, 0, None);
        Reservation { governor, holder, used, granted, minimum, ensured, lender }
    }

    /// Bytes in use, as the owner said.
    pub fn bytes(&self) -> usize {
        self.used
    }

    /// Bytes that growing up to never fails.
    pub fn minimum(&self) -> usize {
        self.minimum
    }

    /// The most bytes that this holder ever had, all its pieces together.
    pub fn peak_bytes(&self) -> usize {
        self.holder.peak.load(Ordering::Relaxed)
    }

    /// Sees to it that growing by up to `n` bytes in all does not fail, whoever else asks for
    /// memory meanwhile, and says whether it can: for work that cannot stop in the middle. Ends
    /// what an earlier call has seen to.
    #[must_use]
    pub fn ensure(&mut self, n: usize) -> bool {
        self.ensured = 0;
        if n == 0 {
            return true;
        }
        let Some(wanted) = self.used.checked_add(n) else { return false };
        if wanted > self.granted && !self.take(wanted - self.granted, wanted, true) {
            return false;
        }
        self.ensured = wanted;
        true
    }

    /// Takes `n` more bytes, if need be after idle state of others has been revoked. On `false`
    /// nothing has changed, and others have been told to shed: the caller sheds its own state,
    /// shrinks, and goes on. Leaves an eighth of the budget to those who can only
    /// [`Reservation::grow`].
    #[must_use]
    pub fn try_grow(&mut self, n: usize) -> bool {
        self.grow_by(n, true)
    }

    /// As [`Reservation::try_grow`], for what only saves time: false also when the holder would
    /// have more than a quarter of what nobody has.
    #[must_use]
    pub fn try_grow_of_plenty(&mut self, n: usize) -> bool {
        self.governor().free() / 4 >= self.bytes().saturating_add(n) && self.try_grow(n)
    }

    /// Takes `n` more bytes, for a holder that cannot go on without them.
    ///
    /// # Errors
    /// `OutOfMemory` with the top holders, the limit and the knob.
    pub fn grow(&mut self, n: usize) -> Result<()> {
        if self.grow_by(n, false) {
            return Ok(());
        }
        Err(self.refusal(n))
    }

    /// The same for a holder that has nothing to give up and is not in a step: what it is refused
    /// because others are in the middle of theirs, where nobody can have what they hold written, it
    /// asks for again when they are between two (see [`super::turns`]).
    ///
    /// # Errors
    /// As [`Reservation::grow`], and what `check` reports while it waits.
    pub fn grow_between_steps(&mut self, n: usize, check: Check<'_>) -> Result<()> {
        if self.grow_by(n, false) {
            return Ok(());
        }
        let governor = self.governor.clone();
        let mut turn = governor.turns().beside(check)?;
        turn.be_alone(check)?;
        self.grow(n)
    }

    /// Gives `n` bytes back; more than in use counts as all.
    pub fn shrink(&mut self, n: usize) {
        self.used = self.used.saturating_sub(n);
        let needed = self.needed();
        let kept = if self.holder.is_pressed() { 0 } else { self.slack_for(self.used) };
        // Keep some slack for growing again, but not so much that it is missed elsewhere.
        if self.granted > needed + 2 * kept {
            self.give(self.granted - needed - kept);
        }
    }

    /// Grows or shrinks to exactly `n` bytes in use.
    ///
    /// # Errors
    /// `OutOfMemory` as in [`Reservation::grow`].
    pub fn resize_to(&mut self, n: usize) -> Result<()> {
        if n > self.used {
            self.grow(n - self.used)
        } else {
            self.shrink(self.used - n);
            Ok(())
        }
    }

    /// Whether the governor wants this holder to shed state at its next chunk: others were refused
    /// because of what it holds. Asking makes the holder known as one that can shed.
    pub fn pressed(&self) -> bool {
        self.holder.sheds.store(true, Ordering::Relaxed);
        self.holder.is_pressed()
    }

    /// Says that the holder has shed all that it could, though it may hold more than it was asked
    /// to come down to: it is not pressed any more.
    pub fn has_shed(&self) {
        self.holder.target.store(NO_TARGET, Ordering::Relaxed);
    }

    /// Gives back every byte that is not in use, slack included; for state that goes idle.
    pub fn settle(&mut self) {
        let needed = self.needed();
        if self.granted > needed {
            self.give(self.granted - needed);
        }
    }

    /// Sees to it that the minimum is `n`, giving back what is beyond that and not in use, and says
    /// whether it is. On `false` it is what it was, or `n` if that is less.
    #[must_use]
    pub fn set_minimum(&mut self, n: usize) -> bool {
        self.raise_minimum(n, false)
    }

    /// The same for who could do without, or could not.
    pub(super) fn raise_minimum(&mut self, n: usize, elastic: bool) -> bool {
        self.put_minimum(self.minimum.min(n));
        self.settle();
        if n > self.granted && !self.take(n - self.granted, n, elastic) {
            return false;
        }
        self.put_minimum(n);
        true
    }

    fn put_minimum(&mut self, n: usize) {
        let before = std::mem::replace(&mut self.minimum, n);
        if n > before {
            self.holder.minimum.fetch_add(n - before, Ordering::Relaxed);
        } else {
            self.holder.minimum.fetch_sub(before - n, Ordering::Relaxed);
        }
    }

    /// A piece of `n` bytes in use (at most all), for state that is handed to another owner.
    #[must_use]
    pub fn split(&mut self, n: usize) -> Reservation {
        let n = n.min(self.used);
        self.used -= n;
        // The minimum stays with this piece. Where the split-off bytes were part of it, it is
        // lowered: the guarantee was for bytes that have now been used.
        self.granted -= n;
        self.put_minimum(self.minimum.min(self.granted));
        self.ensured = self.ensured.saturating_sub(n);
        Reservation {
            governor: self.governor.clone(),
            holder: self.holder.clone(),
            used: n,
            granted: n,
            minimum: 0,
            ensured: 0,
            lender: None,
        }
    }

    /// A piece of `n` bytes in use (at most those beyond the minimum), for values that go to
    /// whoever takes their column; `None` when there are none.
    pub fn hand_over(&mut self, n: usize) -> Option<Charge> {
        let n = n.min(self.used.saturating_sub(self.minimum));
        (n > 0).then(|| Charge::new(self.split(n)))
    }

    /// Takes over what another reservation holds, its minimum included, also what was lent to it.
    pub fn absorb(&mut self, mut other: Reservation) {
        other.lender = None;
        if !Arc::ptr_eq(&self.holder, &other.holder) {
            other.holder.sub(other.granted);
            self.holder.add(other.granted);
        }
        self.used += other.used;
        self.granted += other.granted;
        self.put_minimum(self.minimum + other.minimum);
        other.put_minimum(0);
        other.granted = 0;
    }

    /// A reservation of its own for one worker of this holder; reported together with it.
    ///
    /// # Errors
    /// `OutOfMemory` when the minimum cannot be had.
    pub fn child(&self, minimum: usize) -> Result<Reservation> {
        self.governor.reserve_under(self.holder.who.clone(), minimum, Some(self.holder.clone()))
    }

    /// A child whose minimum are `n` of the bytes in use here (at most all): they change hands and
    /// are never free in between.
    #[must_use]
    pub fn cede(&mut self, n: usize) -> Reservation {
        let mut piece = self.split(n);
        let bytes = std::mem::take(&mut piece.granted);
        self.holder.sub(bytes);
        let parent = Some(self.holder.clone());
        let holder = Arc::new(Holder::new(self.holder.who.clone(), parent));
        self.governor.register(holder, bytes)
    }

    /// Offers state for revocation while nobody works on it. There is one such state per holder;
    /// it is forgotten when it is dropped.
    pub fn offer(&self, state: Weak<dyn Revocable>) {
        let mut revocable = self.holder.revocable.lock().unwrap_or_else(|e| e.into_inner());
        *revocable = Some(state);
    }

    /// The name it reports under.
    pub fn who(&self) -> &Arc<str> {
        &self.holder.who
    }

    /// The governor this comes from.
    pub fn governor(&self) -> &Governor {
        &self.governor
    }

    /// The same, of which `bytes` go back to `lender`.
    pub(super) fn lent_by(mut self, lender: Lender, bytes: usize) -> Self {
        self.lender = Some((lender, bytes));
        self
    }

    /// The error for `asked` bytes that could not be had.
    pub(super) fn refusal(&self, asked: usize) -> Error {
        self.governor.refusal(&self.holder.who, asked)
    }

    /// What must stay granted.
    fn needed(&self) -> usize {
        self.used.max(self.minimum).max(self.ensured)
    }

    fn slack_for(&self, used: usize) -> usize {
        (used / 8).min(self.governor.slack_max())
    }

    fn grow_by(&mut self, n: usize, elastic: bool) -> bool {
        let Some(used) = self.used.checked_add(n) else { return false };
        if used > self.granted && !self.take(used - self.granted, used, elastic) {
            return false;
        }
        self.used = used;
        true
    }

    /// Gets `missing` bytes from the governor, and some slack when that is free.
    fn take(&mut self, missing: usize, used: usize, elastic: bool) -> bool {
        let slack = if self.holder.is_pressed() { 0 } else { self.slack_for(used) };
        let want = Want { bytes: missing, elastic };
        let with_slack = Want { bytes: missing.saturating_add(slack), elastic: true };
        let granted = if self.governor.take(with_slack) {
            with_slack.bytes
        } else if self.governor.take(want) || self.governor.make_room(want, &self.holder) {
            missing
        } else {
            return false;
        };
        self.granted += granted;
        self.holder.add(granted);
        true
    }

    fn give(&mut self, n: usize) {
        self.granted -= n;
        self.holder.sub(n);
        self.governor.give(n);
    }
}

impl SetAside for Reservation {
    fn bytes(&self) -> usize {
        self.used
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some((lender, bytes)) = self.lender.take() {
            self.used = 0;
            let mut lent = self.split(0);
            lent.put_minimum(self.minimum);
            self.put_minimum(0);
            lent.granted = std::mem::take(&mut self.granted);
            return lender.take_back(lent, bytes);
        }
        self.put_minimum(0);
        self.give(self.granted);
    }
}

impl std::fmt::Debug for Reservation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reservation({}, {} of {} bytes)", self.holder.who, self.used, self.granted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::GovernorOptions;

    fn governor(limit: usize) -> Governor {
        Governor::new(GovernorOptions { limit_bytes: Some(limit), ..Default::default() })
    }

    #[test]
    fn the_minimum_is_kept_from_the_start_and_growing_to_it_never_fails() {
        let governor = governor(1000);
        let mut a = governor.reserve("a", 600).expect("fits");
        let mut b = governor.reserve("b", 0).expect("fits");
        assert!(b.grow(500).is_err(), "600 are set aside");
        assert!(b.try_grow(200));
        assert!(!b.try_grow(200), "an eighth is for those who cannot do without");
        b.grow(200).expect("fits");
        assert!(a.try_grow(600));
        assert!(a.grow(1).is_err());
        let refused = governor.reserve("c", 1).expect_err("nothing is left");
        let text = refused.to_string();
        assert!(matches!(refused, Error::OutOfMemory { asked_bytes: 1, .. }));
        assert!(text.contains("a 600 B") && text.contains("b 400 B"), "{text}");
        assert!(text.contains("--memory") && text.contains("memory_limit"), "{text}");
        drop(b);
        assert!(a.try_grow(275) && !a.try_grow(1));
        a.grow(125).expect("all of it");
        drop(a);
        assert_eq!(governor.reserved(), 0);
    }

    #[test]
    fn splitting_and_absorbing_move_bytes_without_changing_the_sum() {
        let governor = governor(10_000);
        let mut a = governor.reserve("a", 100).expect("fits");
        assert!(a.try_grow(1000));
        let before = governor.reserved();
        let piece = a.split(400);
        let mut child = a.child(50).expect("fits");
        assert_eq!(governor.reserved(), before + 50);
        assert_eq!((a.bytes(), piece.bytes()), (600, 400));
        child.absorb(piece);
        assert_eq!(child.bytes(), 400);
        assert_eq!(governor.reserved(), before + 50);
        child.shrink(400);
        drop(child);
        assert_eq!(a.bytes(), 600);
        drop(a);
        assert_eq!(governor.reserved(), 0);
    }

    #[test]
    fn a_minimum_comes_and_goes() {
        let governor = governor(1000);
        let mut a = governor.reserve("a", 400).expect("fits");
        a.grow(400).expect("is granted");
        let ceded = a.cede(300);
        assert_eq!((a.minimum(), ceded.minimum(), governor.reserved()), (100, 300, 400));
        let other = governor.reserve("b", 600).expect("fits");
        assert!(!a.set_minimum(500), "nothing is left");
        a.absorb(ceded);
        assert_eq!((a.bytes(), a.minimum()), (100, 400));
        drop(other);
        assert!(a.set_minimum(700));
        assert_eq!(governor.reserved(), 700);
        assert!(a.set_minimum(50));
        assert_eq!((a.minimum(), governor.reserved()), (50, 100));
    }

    #[test]
    fn slack_spares_the_governor_and_comes_back() {
        let governor = governor(1 << 20);
        let mut a = governor.reserve("a", 0).expect("fits");
        assert!(a.try_grow(80_000));
        let reserved = governor.reserved();
        assert!(reserved > 80_000);
        assert!(a.try_grow(100));
        assert_eq!(governor.reserved(), reserved, "from the slack");
        a.settle();
        assert_eq!(governor.reserved(), 80_100);
        a.resize_to(10).expect("shrinks");
        assert!(governor.reserved() < 20);
    }
}
