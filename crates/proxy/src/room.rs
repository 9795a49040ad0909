//! Descriptors: how many there are for connections, and who gives way when they run short.
//!
//! A client's connection takes one descriptor, and a second one while its request is at an
//! endpoint. Most connections have no request, so room is counted in descriptors, not in pairs.

use std::rc::Rc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::start::Settings;
use crate::thread::Thread;

/// Descriptors that are not for connections, at most: pipes of instances, the database, the
/// admin socket's clients, and connections that are only told that there is no room.
const KEPT_MAX: u64 = 1_024;
/// Connections, over all threads, that are told why they are closed.
const TOLD_MAX: u32 = 256;
/// One in so many is kept free, and half as many connections are let go at a time.
const SPARE: u32 = 16;

/// How many descriptors a thread may use for connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// All of them.
    files_max: u32,
    /// Beyond so many, connections without a request are let go.
    files_well: u32,
    /// Connections that are told why they are closed, at a time.
    pub(crate) told_max: u32,
}

impl Room {
    /// What each of `threads` may use. Raises this process' limit of open files as far as it
    /// may, unless the settings say how many there are.
    pub(crate) fn new(settings: &Settings, threads: usize) -> Self {
        let threads = u32::try_from(threads).unwrap_or(u32::MAX).max(1);
        let files_max = settings.files_max.unwrap_or_else(|| {
            let files = raised_limit();
            let each = (files - KEPT_MAX.min(files / 4)) / u64::from(threads);
            u32::try_from(each).unwrap_or(u32::MAX).max(2)
        });
        Self {
            files_max,
            files_well: files_max - files_max / SPARE,
            told_max: (TOLD_MAX / threads).max(1),
        }
    }

    /// How many connections are let go at a time, so that it is not looked for each anew.
    fn batch(&self) -> u32 {
        (self.files_max / SPARE / 2).max(1)
    }
}

fn raised_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let files = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    files.unwrap_or(u64::MAX)
}

impl Thread {
    /// Descriptors in use, but for those that are about to be given back.
    fn files(&self) -> u32 {
        let upstream = self.claims.get() + self.pool.len() + self.trunks.len();
        let taken = self.connections() + upstream + self.pipes.files();
        taken.saturating_sub(self.watches.leaving())
    }

    /// Lets connections without a request go when descriptors run short.
    fn make_room(&self) {
        let missing = self.files().saturating_sub(self.room.files_well);
        if missing > 0 {
            let count = missing.max(self.room.batch());
            self.watches.let_go(count as usize);
        }
    }

    /// Closes connections to endpoints that nobody uses. False if there was none.
    fn close_idle(&self) -> bool {
        let is_any = self.pool.shrink();
        self.trunks.shrink() || is_any
    }

    /// Lets some connections without a request go, although by our own count there is room:
    /// something else in this process has taken the descriptors.
    pub(crate) fn let_some_go(&self) {
        self.watches.let_go(self.room.batch() as usize);
    }

    /// True if a connection that was just accepted can be served.
    pub(crate) fn has_room_for_client(&self) -> bool {
        self.make_room();
        self.files() <= self.room.files_max || self.close_idle()
    }

    /// True if a request can have a connection to an endpoint beside its own.
    pub(crate) fn has_room_for_request(&self) -> bool {
        self.make_room();
        self.files() < self.room.files_max || self.close_idle()
    }
}

/// A place among the connections that are told why they are closed.
#[derive(Debug)]
pub(crate) struct Told(Rc<Thread>);

impl Told {
    /// `None` if there are too many of them.
    pub(crate) fn place(thread: &Rc<Thread>) -> Option<Self> {
        let told = thread.told.get();
        (told < thread.room.told_max).then(|| {
            thread.told.set(told + 1);
            Self(Rc::clone(thread))
        })
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.0.told.set(self.0.told.get() - 1);
    }
}
