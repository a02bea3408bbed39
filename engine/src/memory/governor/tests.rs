//! Tests of `governor`.

use std::sync::atomic::{AtomicBool, AtomicUsize};

use super::*;
use crate::memory::Revocable;

fn governor(limit: usize) -> Governor {
    Governor::new(GovernorOptions { limit_bytes: Some(limit), ..Default::default() })
}

/// Idle state that forgets its bytes when it is revoked.
struct Idle {
    reservation: Mutex<Reservation>,
    times: AtomicUsize,
    fails: bool,
}

impl Idle {
    fn new(governor: &Governor, who: &str, bytes: usize, fails: bool) -> Arc<Idle> {
        let mut reservation = governor.reserve(who, 0).expect("fits");
        assert!(reservation.try_grow(bytes));
        let idle = Arc::new(Idle { reservation: Mutex::new(reservation), times: 0.into(), fails });
        let weak: Weak<dyn Revocable> = Arc::downgrade(&(idle.clone() as Arc<dyn Revocable>));
        idle.reservation.lock().expect("free").offer(weak);
        idle
    }

    fn bytes(&self) -> usize {
        self.reservation.lock().expect("free").bytes()
    }
}

impl Revocable for Idle {
    fn revocable_bytes(&self) -> usize {
        self.reservation.try_lock().map_or(0, |r| r.bytes())
    }

    fn revoke(&self, wanted: usize) -> Result<usize> {
        let Ok(mut reservation) = self.reservation.try_lock() else { return Ok(0) };
        self.times.fetch_add(1, Ordering::Relaxed);
        if self.fails {
            return Err(Error::internal("the disk is full"));
        }
        let freed = wanted.min(reservation.bytes());
        reservation.shrink(freed);
        reservation.settle();
        Ok(freed)
    }
}

#[test]
fn the_idle_state_that_frees_most_gives_way_first() {
    let governor = governor(112_000);
    let small = Idle::new(&governor, "small", 20_000, false);
    let large = Idle::new(&governor, "large", 60_000, false);
    let mut asking = governor.reserve("asking", 0).expect("fits");
    assert!(asking.try_grow(50_000));
    assert_eq!(small.bytes(), 20_000);
    assert!(large.bytes() < 60_000);
    assert!(asking.try_grow(40_000), "both give way");
    assert_eq!(large.bytes(), 0);
    assert!(!asking.try_grow(20_000));
    assert!(governor.reserved() <= 98_000);
    asking.grow(20_000).expect("from the headroom");
}

#[test]
fn a_victim_that_is_busy_or_fails_is_left_alone_and_pressure_is_marked() {
    let governor = governor(112_000);
    let busy = Idle::new(&governor, "busy", 30_000, false);
    let fails = Idle::new(&governor, "fails", 30_000, true);
    let mut running = governor.reserve("running", 1000).expect("fits");
    assert!(running.try_grow(30_000));
    assert!(!running.pressed());
    let lock = busy.reservation.lock().expect("free");
    let mut asking = governor.reserve("asking", 0).expect("fits");
    assert!(!asking.try_grow(20_000));
    assert_eq!(fails.times.load(Ordering::Relaxed), 1);
    assert_eq!(fails.bytes(), 30_000);
    assert!(!asking.pressed(), "the requester sheds anyway");
    assert!(running.pressed());
    running.shrink(10_000);
    assert!(running.pressed(), "it was asked for half of what it has");
    running.shrink(10_000);
    assert!(!running.pressed());
    drop(lock);
    assert!(asking.try_grow(20_000));
}

/// Asks for memory while it is revoked.
struct Greedy(Mutex<Reservation>);

impl Revocable for Greedy {
    fn revocable_bytes(&self) -> usize {
        self.0.try_lock().map_or(0, |r| r.bytes())
    }

    fn revoke(&self, _: usize) -> Result<usize> {
        let Ok(mut reservation) = self.0.try_lock() else { return Ok(0) };
        for _ in 0..3 {
            assert!(!reservation.try_grow(90_000), "revocations do not nest");
        }
        let freed = reservation.bytes();
        reservation.resize_to(0)?;
        Ok(freed)
    }
}

#[test]
fn a_revocation_that_asks_for_memory_is_refused() {
    let governor = governor(112_000);
    let other = Idle::new(&governor, "other", 20_000, false);
    let mut reservation = governor.reserve("greedy", 0).expect("fits");
    assert!(reservation.try_grow(70_000));
    let greedy = Arc::new(Greedy(Mutex::new(reservation)));
    let weak: Weak<dyn Revocable> = Arc::downgrade(&(greedy.clone() as Arc<dyn Revocable>));
    greedy.0.lock().expect("free").offer(weak);
    let mut asking = governor.reserve("asking", 0).expect("fits");
    assert!(asking.try_grow(60_000));
    assert_eq!(other.times.load(Ordering::Relaxed), 0);
}

#[test]
fn holdings_put_children_with_their_parents() {
    let governor = governor(10_000);
    let sort = governor.reserve("sort", 100).expect("fits");
    let workers: Vec<_> = (0..3).map(|_| sort.child(200).expect("fits")).collect();
    let _join = governor.reserve("join", 300).expect("fits");
    let holdings = governor.holdings();
    let names: Vec<_> = holdings.iter().map(|h| (h.who.as_ref(), h.bytes, h.minimum)).collect();
    assert_eq!(names, [("sort", 700, 700), ("join", 300, 300)]);
    drop(workers);
    assert_eq!(governor.holdings()[0].bytes, 300);
    assert_eq!(governor.usage().peak_reserved, 1000);
}

#[test]
fn what_is_ceded_is_never_free() {
    let governor = governor(1000);
    let mut root = governor.reserve("sort", 900).expect("fits");
    root.grow(900).expect("its minimum");
    let mut merger = root.cede(600);
    assert_eq!((root.bytes(), merger.bytes(), merger.minimum()), (300, 0, 600));
    assert_eq!(governor.reserved(), 900);
    let mut other = governor.reserve("other", 0).expect("fits");
    assert!(other.grow(101).is_err());
    merger.grow(600).expect("its minimum");
    assert_eq!(root.cede(usize::MAX).minimum(), 300, "all there is");
    drop((merger, root));
    assert_eq!(governor.reserved(), 0);
}

/// Panics when it is asked to give way.
struct Broken;

impl Revocable for Broken {
    fn revocable_bytes(&self) -> usize {
        usize::MAX
    }

    fn revoke(&self, _: usize) -> Result<usize> {
        panic!("a defect");
    }
}

#[test]
fn a_thread_revokes_again_after_a_revocation_that_panicked() {
    let governor = governor(112_000);
    let broken: Arc<dyn Revocable> = Arc::new(Broken);
    let holder = governor.reserve("broken", 0).expect("fits");
    holder.offer(Arc::downgrade(&broken));
    let mut asking = governor.reserve("asking", 0).expect("fits");
    let idle = Idle::new(&governor, "idle", 60_000, false);
    let ask = std::panic::AssertUnwindSafe(|| asking.try_grow(50_000));
    std::panic::catch_unwind(ask).expect_err("panics");
    drop(broken);
    assert!(asking.try_grow(50_000));
    assert_eq!(idle.times.load(Ordering::Relaxed), 1);
}

#[test]
fn a_request_beyond_the_limit_or_beyond_counting_is_refused() {
    let governor = governor(1000);
    let mut a = governor.reserve("a", 0).expect("fits");
    assert!(!a.try_grow(1001));
    assert!(!a.try_grow(usize::MAX));
    assert!(a.grow(usize::MAX).is_err());
    let unlimited = Governor::unlimited();
    let mut b = unlimited.reserve("b", 10).expect("fits");
    assert!(b.try_grow(1 << 40));
    assert!(!b.try_grow(usize::MAX), "not even without a limit");
    b.shrink(usize::MAX);
    assert_eq!(b.bytes(), 0);
}

/// A few threads grow, shrink, split, absorb and revoke at random; the limit holds at every step
/// and nothing is lost at the end.
#[test]
fn accounting_holds_under_threads() {
    for seed in 0..40u64 {
        let governor = governor(1 << 20);
        let idle = Idle::new(&governor, "idle", 100_000, false);
        std::thread::scope(|scope| {
            for thread in 0..4u64 {
                let root = governor.reserve("churn", 1000).expect("minimum");
                scope.spawn(move || churn(root, seed * 4 + thread));
            }
        });
        drop(idle);
        assert_eq!(governor.reserved(), 0, "seed {seed}");
        assert!(governor.usage().peak_reserved <= 1 << 20);
        assert!(governor.holdings().is_empty());
    }
}

fn churn(root: Reservation, seed: u64) {
    let governor = root.governor().clone();
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 16) as usize % below
    };
    let mut pieces: Vec<Reservation> = Vec::new();
    for _ in 0..400 {
        match (next(6), pieces.len()) {
            (0, _) | (_, 0) => pieces.extend(root.child(next(5000)).ok()),
            (1, n) => {
                let piece = pieces.swap_remove(next(n));
                if let Some(other) = pieces.last_mut() {
                    other.absorb(piece);
                }
            }
            (2, n) => {
                let half = pieces[next(n)].bytes() / 2;
                let from = &mut pieces[next(n)];
                let part = if half.is_multiple_of(2) { from.split(half) } else { from.cede(half) };
                pieces.push(part);
            }
            (3, n) => pieces[next(n)].shrink(next(200_000)),
            (_, n) => {
                let at = next(n);
                let _ = pieces[at].try_grow(next(100_000)) || pieces[at].pressed();
            }
        }
        assert!(governor.reserved() <= governor.limit());
    }
}

#[test]
fn the_limit_can_be_changed_while_memory_is_held() {
    let governor = Governor::new(GovernorOptions { limit_bytes: Some(1000), ..Default::default() });
    let mut held = governor.reserve("holder", 0).expect("fits");
    held.grow(600).expect("fits");
    let refused = governor.set_limit(Some(500)).expect_err("600 bytes are held");
    assert!(refused.to_string().contains("holder 600 B"), "{refused}");
    assert_eq!(governor.limit(), 1000);
    governor.set_limit(Some(700)).expect("more than is held");
    assert!(held.grow(101).is_err());
    governor.set_limit(None).expect("no limit");
    held.grow(1 << 40).expect("no limit");
}

#[test]
fn a_limit_that_is_refused_was_never_there() {
    let governor = Governor::new(GovernorOptions { limit_bytes: Some(1000), ..Default::default() });
    let held = governor.reserve("holder", 600).expect("fits");
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let mut other = governor.reserve("worker", 0).expect("fits");
            for _ in 0..20_000 {
                other.grow(400).expect("is free, whatever limits are refused");
                other.shrink(400);
                assert_eq!(governor.limit(), 1000);
            }
        });
        while !worker.is_finished() {
            governor.set_limit(Some(500)).expect_err("600 bytes are held");
        }
    });
    drop(held);
    assert_eq!((governor.reserved(), governor.free()), (0, 875));
}

#[test]
fn never_more_is_held_than_a_limit_that_was_granted() {
    for seed in 0..20u64 {
        let options = GovernorOptions { limit_bytes: Some(1000), ..Default::default() };
        let governor = Governor::new(options);
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut held = governor.reserve("worker", 0).expect("asks for nothing");
                    while !over.load(Ordering::Relaxed) {
                        let _ = held.try_grow(100) || held.grow(10).is_ok();
                        held.shrink(if held.bytes() > 400 { 400 } else { 0 });
                    }
                });
            }
            for step in 0..500 {
                let limit = 300 + (seed * 131 + step * 97) % 900;
                let limit = (step % 50 != 0).then_some(limit as usize);
                if governor.set_limit(limit).is_ok() {
                    let limit = limit.unwrap_or(usize::MAX);
                    assert_eq!(governor.limit(), limit);
                    (0..50).for_each(|_| assert!(governor.reserved() <= limit));
                }
            }
            over.store(true, Ordering::Relaxed);
        });
        governor.set_limit(Some(800)).expect("nothing is held");
        assert_eq!((governor.reserved(), governor.free()), (0, 700));
    }
}

#[test]
fn the_minimum_of_a_holder_is_that_of_its_pieces() {
    let governor = Governor::new(GovernorOptions { limit_bytes: Some(1000), ..Default::default() });
    let minimum = |who: &str| {
        let holdings = governor.holdings();
        holdings.iter().find(|holding| &*holding.who == who).map(|holding| holding.minimum)
    };
    let mut a = governor.reserve("a", 100).expect("fits");
    assert!(a.set_minimum(300));
    assert_eq!(minimum("a"), Some(300));
    assert!(!a.set_minimum(2000));
    assert_eq!(minimum("a"), Some(300));
    a.grow(300).expect("is the minimum");
    // What has been handed on is no minimum any more.
    let piece = a.split(50);
    assert_eq!(minimum("a"), Some(250));
    let mut b = governor.reserve("b", 40).expect("fits");
    b.absorb(a);
    assert_eq!((minimum("a"), minimum("b")), (Some(0), Some(290)));
    drop(piece);
    // Whoever is pressed is asked to come down to what it needs now.
    b.grow(500).expect("fits");
    assert!(b.set_minimum(700) && !b.pressed());
    let mut c = governor.reserve("c", 0).expect("fits");
    assert!(!c.try_grow(400));
    assert!(b.pressed());
    b.shrink(b.bytes() - 700);
    assert!(!b.pressed(), "it cannot come below its minimum");
}

#[test]
fn sizes_have_binary_units() {
    let bytes = |text: &str| text.parse::<Bytes>().map(|bytes| bytes.0).ok();
    assert_eq!(bytes("128MB"), Some(128 << 20));
    assert_eq!(bytes("1.5 gb"), Some(3 << 29));
    assert_eq!(bytes("4096"), Some(4096));
    for bad in ["", "MB", "-1GB", "1.2.3", "12XB", "0", "99999999999TB"] {
        assert_eq!(bytes(bad), None, "{bad}");
    }
}

#[test]
fn who_has_nothing_to_give_up_gets_what_is_in_the_step_of_others() {
    let governor = governor(100_000);
    let state = Idle::new(&governor, "state", 80_000, false);
    let check = || Ok(());
    let mut asking = governor.reserve("asking", 0).expect("fits");
    let begun = std::sync::Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _step = governor.turns().beside(&check).expect("nobody stops");
            let _taken = state.reservation.lock().expect("free");
            begun.wait();
            std::thread::sleep(std::time::Duration::from_millis(20));
        });
        begun.wait();
        assert!(asking.grow(50_000).is_err(), "is in a step");
        asking.grow_between_steps(50_000, &check).expect("gives way behind it");
        // What nobody has is refused all the same, and so is who is stopped.
        assert!(asking.grow_between_steps(60_000, &check).is_err());
        let _step = governor.turns().beside(&check).expect("is over");
        let stopped = || Err(Error::internal("stopped"));
        let refused = asking.grow_between_steps(60_000, &stopped).expect_err("is stopped");
        assert!(matches!(refused, Error::Internal(_)), "{refused}");
    });
}
