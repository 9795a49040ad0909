//! Everything a child ever started: found, signalled, killed.
//!
//! A program may fork, leave its process group and session, and let its
//! parent die. All of that stays below the supervisor, which is a subreaper;
//! whose it is shows in its cgroup, its session, its parents or the key in
//! its environment.

use std::collections::BTreeSet;

use rustix::process::{Pid, Signal};

use crate::cgroup::ChildCgroup;
use crate::child::{Child, Children};
use crate::identity::{KEY_VARIABLE, SERVER_VARIABLE, ServerId};
use crate::proc::{self, Process, Table};
use crate::spec::Key;

/// A process forked while others were being killed is found in the next
/// round; one with a SIGKILL pending forks no more, so few rounds are needed.
const KILL_ROUNDS_MAX: usize = 64;

/// Whether pid, session and group alone show that this process is the child's.
fn related(process: &Process, child: &Child) -> bool {
    let info = &child.info;
    if child.seen.contains(&(process.pid, process.start_time)) {
        return true;
    }
    // Once the child is reaped its pid may be given out again, but not while
    // its session or group lives on: what began before its end is its own.
    let certain = child.ended.is_none_or(|ended| process.start_time <= ended);
    certain && (process.session == info.pid || process.group == info.pid)
}

/// The key in the environment that this process began with, if ours.
fn marked(process: &Process, server: ServerId) -> Option<Key> {
    let found = proc::environment(process.pid, &[KEY_VARIABLE, SERVER_VARIABLE]);
    if found.get(SERVER_VARIABLE)? != &server.to_text() {
        return None;
    }
    Key::try_new(found.get(KEY_VARIABLE)?.as_str()).ok()
}

/// The child that a process belongs to, by itself or by one of its parents.
pub(crate) fn key_of(
    process: &Process,
    children: &Children,
    server: ServerId,
    table: &Table,
) -> Option<Key> {
    let mut link = process;
    for _ in 0..table.processes.len() {
        if let Some(child) = children.values().find(|child| related(link, child)) {
            return Some(child.info.key.clone());
        }
        if link.pid == server.pid {
            break;
        }
        link = table.processes.get(&link.parent)?;
    }
    let inside = |child: &&Child| {
        child
            .cgroup
            .as_ref()
            .is_some_and(|cgroup| cgroup.processes().contains(&process.pid))
    };
    let by_cgroup = || {
        children
            .values()
            .find(inside)
            .map(|child| child.info.key.clone())
    };
    marked(process, server)
        .filter(|key| children.contains_key(key))
        .or_else(by_cgroup)
}

/// What is needed to tell one child's processes from another's.
#[derive(Debug)]
pub(crate) struct Family {
    server: ServerId,
    /// The pids of all children that run: whose session is one of these is no stray.
    running: BTreeSet<u32>,
}

impl Family {
    pub(crate) fn of(server: ServerId, children: &Children) -> Self {
        let running = children.values().filter(|child| child.running());
        Self {
            server,
            running: running.map(|child| child.info.pid).collect(),
        }
    }

    /// Whether this process is the child's, by itself.
    ///
    /// In a cgroup nothing gets lost; without one, strays are asked for the
    /// environment that they began with.
    fn owns(&self, child: &Child, inside: Option<&BTreeSet<u32>>, process: &Process) -> bool {
        let stray = || {
            !self.running.contains(&process.session)
                && marked(process, self.server).is_some_and(|key| key == child.info.key)
        };
        related(process, child)
            || match inside {
                Some(inside) => inside.contains(&process.pid),
                None => stray(),
            }
    }

    /// All living processes of a child, itself included, by pid and start.
    fn members(&self, child: &mut Child, table: &Table) -> BTreeSet<(u32, u64)> {
        let below_us = table.descendants(&BTreeSet::from([self.server.pid]));
        let inside = child.cgroup.as_ref().map(ChildCgroup::processes);
        let candidates = below_us.iter().filter_map(|pid| table.processes.get(pid));
        let own: BTreeSet<u32> = candidates
            .filter(|process| !process.ended && self.owns(child, inside.as_ref(), process))
            .map(|process| process.pid)
            .collect();
        let below = table.descendants(&own);
        let found = own.union(&below).filter_map(|pid| table.processes.get(pid));
        let found = found.filter(|process| !process.ended);
        child.seen = found
            .map(|process| (process.pid, process.start_time))
            .collect();
        child.seen.clone()
    }

    /// Sends a signal to the child's process group.
    ///
    /// Who belongs to it is noted first, while all parents are still there.
    pub(crate) fn signal(&self, child: &mut Child, table: &Table, signal: Signal) {
        let members = self.members(child, table);
        if let Some(pid) = running_pid(child) {
            let _ended_meanwhile = rustix::process::kill_process_group(pid, signal);
        } else {
            for (pid, start_time) in members {
                let _ended_meanwhile = proc::signal_exact(pid, start_time, signal);
            }
        }
    }

    /// Kills the child and everything it ever started.
    pub(crate) fn kill(&self, child: &mut Child) {
        let mut killed = BTreeSet::new();
        for _ in 0..KILL_ROUNDS_MAX {
            let members = self.members(child, &Table::read());
            if let Some(cgroup) = &child.cgroup {
                cgroup.kill();
            }
            if let Some(pid) = running_pid(child) {
                let _ended_meanwhile = rustix::process::kill_process_group(pid, Signal::KILL);
            }
            let fresh: Vec<(u32, u64)> = members.difference(&killed).copied().collect();
            if fresh.is_empty() {
                return;
            }
            for (pid, start_time) in fresh {
                let _ended_meanwhile = proc::signal_exact(pid, start_time, Signal::KILL);
                killed.insert((pid, start_time));
            }
        }
    }
}

/// Kills everything below the supervisor.
pub(crate) fn kill_all_below(server: ServerId) {
    let table = Table::read();
    let below = table.descendants(&BTreeSet::from([server.pid]));
    for process in below.iter().filter_map(|pid| table.processes.get(pid)) {
        let _ended_meanwhile = proc::signal_exact(process.pid, process.start_time, Signal::KILL);
    }
}

/// The child's pid while it is certain to be the child's: until it is reaped.
pub(crate) fn running_pid(child: &Child) -> Option<Pid> {
    if !child.running() {
        return None;
    }
    Pid::from_raw(i32::try_from(child.info.pid).ok()?)
}
