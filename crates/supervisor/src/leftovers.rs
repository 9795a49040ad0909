//! What an earlier supervisor of the same state directory left running.
//!
//! When a supervisor dies its worker and children go on. The next server
//! starts its own beside them, then asks the old worker to drain and stops
//! the old children. Nothing is adopted.

use std::collections::BTreeSet;
use std::path::Path;

use rustix::process::Signal;

use crate::client::SOCKETS_VARIABLE;
use crate::identity::{KEY_VARIABLE, SERVER_VARIABLE, ServerId};
use crate::proc::{self, Table};
use crate::protocol::{Leftover, LeftoverKind};
use crate::spec::Key;

/// Lists what dead supervisors of a state directory left, in order of pids.
///
/// Empty when the directory does not exist.
#[must_use]
pub fn leftovers(state: &Path) -> Vec<Leftover> {
    match ServerId::own(state) {
        Ok(own) => of(own),
        Err(_) => Vec::new(),
    }
}

/// Sends a signal to leftovers; ones that have ended, or whose pid is another's by now, are skipped.
///
/// # Errors
///
/// The first failure, after all were tried; usually that they belong to another user.
pub fn signal_leftovers(leftovers: &[Leftover], signal: Signal) -> std::io::Result<()> {
    let mut outcome = Ok(());
    for left in leftovers {
        outcome = outcome.and(proc::signal_exact(left.pid, left.start_time, signal));
    }
    outcome
}

/// Leftovers as the server `own` sees them.
pub(crate) fn of(own: ServerId) -> Vec<Leftover> {
    let table = Table::read();
    let marked = table
        .processes
        .keys()
        .filter_map(|pid| marked(*pid, own, &table));
    let mut all: Vec<Leftover> = marked.collect();
    // What they started with another environment is theirs as well.
    let mut known: BTreeSet<u32> = all.iter().map(|left| left.pid).collect();
    for index in 0..all.len() {
        let (kind, key) = (all[index].kind, all[index].key.clone());
        for pid in table.descendants(&BTreeSet::from([all[index].pid])) {
            if let (true, Some(process)) = (known.insert(pid), table.processes.get(&pid)) {
                let start_time = process.start_time;
                all.push(Leftover {
                    pid,
                    start_time,
                    kind,
                    key: key.clone(),
                });
            }
        }
    }
    all.retain(|left| {
        table
            .processes
            .get(&left.pid)
            .is_some_and(|process| !process.ended)
    });
    all.sort_by_key(|left| left.pid);
    all
}

/// Reads the marks of one process.
fn marked(pid: u32, own: ServerId, table: &Table) -> Option<Leftover> {
    let names = [SERVER_VARIABLE, KEY_VARIABLE, SOCKETS_VARIABLE];
    let environment = proc::environment(pid, &names);
    let server = ServerId::parse(environment.get(SERVER_VARIABLE)?)?;
    let same_state = (server.device, server.inode) == (own.device, own.inode);
    if !same_state || server.alive() {
        return None;
    }
    let key = environment
        .get(KEY_VARIABLE)
        .and_then(|key| Key::try_new(key.as_str()).ok());
    let kind = match (&key, environment.contains_key(SOCKETS_VARIABLE)) {
        (None, true) => LeftoverKind::Worker,
        (Some(_), _) | (None, false) => LeftoverKind::Child,
    };
    Some(Leftover {
        pid,
        start_time: table.processes.get(&pid)?.start_time,
        kind,
        key,
    })
}
