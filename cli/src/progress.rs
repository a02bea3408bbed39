//! A bar on standard error that tells how far a statement is, while nothing else is printed.
//!
//! Concurrency: a thread of its own draws the bar a few times in a second, under a lock; whoever
//! prints takes the bar away first.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use gristmill::Session;

/// When there is a bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// On a terminal.
    Auto,
    /// Also in a pipe or a file.
    Always,
    /// Not at all.
    Never,
}

/// What is soon done needs no bar.
const PATIENCE: Duration = Duration::from_millis(500);

/// Between two drawings.
const PAUSE: Duration = Duration::from_millis(100);

/// Places of the bar, its ends not counted.
const PLACES: usize = 30;

/// The bar of one statement.
pub struct Bar {
    state: Mutex<State>,
    start: Instant,
}

#[derive(Default)]
struct State {
    is_drawn: bool,
    is_over: bool,
    /// The most that was shown: a bar does not go back.
    share: f64,
}

impl Bar {
    /// Takes the bar away for good.
    pub fn end(&self) {
        let mut state = self.lock();
        if std::mem::take(&mut state.is_drawn) {
            // A terminal that has gone misses nothing.
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
        state.is_over = true;
    }

    fn draw(&self, share: f64) {
        let mut state = self.lock();
        if state.is_over {
            return;
        }
        state.share = state.share.max(share);
        let _ = write!(io::stderr(), "\r{}\x1b[K", line(state.share, self.start.elapsed()));
        state.is_drawn = true;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl When {
    fn patience(self) -> Option<Duration> {
        match self {
            When::Auto => io::stderr().is_terminal().then_some(PATIENCE),
            When::Always => Some(Duration::ZERO),
            When::Never => None,
        }
    }
}

/// What `act` answers. While it goes on, a bar is shown if there is to be one.
pub fn shown<T>(when: When, session: &Session, act: impl FnOnce(&Bar) -> T) -> T {
    let bar = Bar { state: Mutex::default(), start: Instant::now() };
    let Some(patience) = when.patience() else { return act(&bar) };
    thread::scope(|scope| {
        let (running, over) = mpsc::channel::<()>();
        scope.spawn(|| {
            let (over, mut pause) = (over, patience);
            while over.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                if let Some(share) = session.engine().progress() {
                    bar.draw(share);
                }
                pause = PAUSE;
            }
        });
        let answer = act(&bar);
        bar.end();
        drop(running);
        answer
    })
}

fn line(share: f64, elapsed: Duration) -> String {
    let share = share.clamp(0.0, 1.0);
    let full = (share * PLACES as f64) as usize;
    let (done, left) = ("█".repeat(full), "░".repeat(PLACES - full));
    let mut line = format!("{done}{left} {:3.0} %  {:.0} s", share * 100.0, elapsed.as_secs_f64());
    // Before that much is done, what is left is anybody's guess.
    if share > 0.05 && share < 1.0 {
        let left = elapsed.as_secs_f64() * (1.0 - share) / share;
        line.push_str(&format!(", about {left:.0} s left"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_the_share_and_the_time() {
        let line = |share| line(share, Duration::from_secs(10));
        assert_eq!(line(0.0), format!("{}   0 %  10 s", "░".repeat(30)));
        let half = format!("{}{}", "█".repeat(15), "░".repeat(15));
        assert_eq!(line(0.5), format!("{half}  50 %  10 s, about 10 s left"));
        assert_eq!(line(1.5), format!("{} 100 %  10 s", "█".repeat(30)));
    }
}
