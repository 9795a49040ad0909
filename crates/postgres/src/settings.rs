//! How carefully a plan is run, and how a person steers a running one.

use std::time::Duration;

use tokio::sync::watch;

use crate::error::DatabaseError;
use crate::event::{Event, Observer};

/// How carefully a plan is run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The longest that a step may keep others waiting while it waits itself.
    pub lock_timeout: Duration,
    /// The longest that a step is tried again because of others' locks.
    pub patience: Duration,
    /// The longest that a statement may work under locks that stop others.
    pub work_limit: Duration,
    /// How long a batch of a backfill should take.
    pub batch_time: Duration,
    /// A backfill waits while a replica is further behind than this.
    pub lag_max: Duration,
    /// Whether somebody has seen what the plan asks about.
    pub consent: Consent,
    /// How long to wait for another runner, which may be one that just died.
    pub wait_for_other: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lock_timeout: Duration::from_millis(250),
            patience: Duration::from_mins(10),
            work_limit: Duration::from_secs(10),
            batch_time: Duration::from_millis(100),
            lag_max: Duration::from_millis(1500),
            consent: Consent::Ask,
            wait_for_other: Duration::from_secs(5),
        }
    }
}

/// Whether somebody has seen what a plan asks about: notes that want an answer, and triggers
/// whose effects would stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// It is told, and nothing is begun.
    Ask,
    /// Somebody said yes.
    Given,
}

/// What a person wants of a running plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Go on.
    Go,
    /// Wait before the next batch or step.
    Pause,
    /// Stop at the next statement; what was done stays done, and can be carried on.
    Stop,
}

/// Steering and hearing of a running plan.
pub(crate) struct Helm {
    pub(crate) wish: watch::Receiver<Wish>,
    pub(crate) observer: Observer,
}

impl Helm {
    pub(crate) fn tell(&self, event: Event) {
        (self.observer)(&event);
    }

    /// Returns at once, or when a pause ends.
    pub(crate) async fn go_on(&mut self) -> Result<(), DatabaseError> {
        loop {
            let wish = *self.wish.borrow_and_update();
            match wish {
                Wish::Go => return Ok(()),
                Wish::Stop => return Err(DatabaseError::Stopped),
                Wish::Pause => self.tell(Event::Held {
                    reason: "paused".to_owned(),
                }),
            }
            // Whoever let go of the wheel wants no pause.
            if self.wish.changed().await.is_err() {
                return Ok(());
            }
        }
    }

    /// For where a pause would keep others waiting.
    pub(crate) fn not_stopped(&self) -> Result<(), DatabaseError> {
        match *self.wish.borrow() {
            Wish::Go | Wish::Pause => Ok(()),
            Wish::Stop => Err(DatabaseError::Stopped),
        }
    }

    /// Waits for `time`, or until somebody wants to stop.
    pub(crate) async fn wait(&mut self, time: Duration) -> Result<(), DatabaseError> {
        let stop = async {
            while *self.wish.borrow_and_update() != Wish::Stop {
                if self.wish.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::select! {
            () = tokio::time::sleep(time) => self.go_on().await,
            () = stop => Err(DatabaseError::Stopped),
        }
    }
}

/// A pause before try `attempt`, from 1: doubling up to 5 s, and never the same for two.
pub(crate) fn backoff(attempt: u32) -> Duration {
    const FIRST: u64 = 100;
    const MOST: u64 = 5_000;
    let base = FIRST
        .saturating_mul(1 << attempt.min(10).saturating_sub(1))
        .min(MOST);
    let mut random = [0_u8; 2];
    // Without randomness two runners may meet again; nothing worse.
    let _ = getrandom::fill(&mut random);
    let share = u64::from(u16::from_le_bytes(random));
    Duration::from_millis(base / 2 + base * share / u64::from(u16::MAX))
}
