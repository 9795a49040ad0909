//! Workers: proxy threads with their tables, and the requests open in them.

use std::sync::Arc;

use model::{InstanceId, Revision};
use traffic::Table;

use crate::check::endpoints;
use crate::rng::Rng;

/// The proxy side of a worker.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) id: u64,
    /// The table that each thread follows.
    pub(crate) threads: Vec<Arc<Table>>,
}

/// A request that is open at an instance.
#[derive(Debug)]
struct Open {
    worker: u64,
    instance: InstanceId,
    until: u64,
}

/// Every living worker's threads.
#[derive(Debug, Default)]
pub(crate) struct Proxy {
    pub(crate) workers: Vec<Worker>,
    open: Vec<Open>,
}

impl Proxy {
    pub(crate) fn join(&mut self, id: u64, threads: usize) {
        let threads = (0..threads).map(|_| Arc::default()).collect();
        self.workers.push(Worker { id, threads });
    }

    /// A worker is gone, and with it what is open in it.
    pub(crate) fn leave(&mut self, id: u64) {
        self.workers.retain(|worker| worker.id != id);
        self.open.retain(|open| open.worker != id);
    }

    pub(crate) fn clear(&mut self) {
        self.workers.clear();
        self.open.clear();
    }

    /// A thread follows a newer table. What it has open at endpoints that are gone from it stays
    /// open for a while.
    pub(crate) fn take(
        &mut self,
        thread: (u64, usize),
        table: &Arc<Table>,
        (now, rng): (u64, &mut Rng),
    ) {
        let (id, index) = thread;
        let Some(worker) = self.workers.iter_mut().find(|worker| worker.id == id) else {
            return;
        };
        let Some(follows) = worker.threads.get_mut(index) else {
            return;
        };
        if follows.revision >= table.revision {
            return;
        }
        let old = std::mem::replace(follows, table.clone());
        for endpoint in endpoints(&old) {
            let kept = endpoints(table).any(|kept| kept.instance == endpoint.instance);
            if !kept {
                let lasts = match rng.below(10) {
                    0..=5 => continue,
                    6..=8 => rng.within(1, 300),
                    _ => rng.within(300, 9_000),
                };
                self.open.push(Open {
                    worker: id,
                    instance: endpoint.instance.clone(),
                    until: now + lasts,
                });
            }
        }
    }

    /// The newest table that every thread has.
    pub(crate) fn confirmed(&self) -> Revision {
        let threads = self.workers.iter().flat_map(|worker| &worker.threads);
        threads
            .map(|table| table.revision)
            .min()
            .unwrap_or_default()
    }

    /// A thread that routes to an instance.
    pub(crate) fn routed_by(&self, instance: &InstanceId) -> Option<String> {
        self.workers.iter().find_map(|worker| {
            let mut threads = worker.threads.iter().enumerate();
            let routes = |table: &Table| endpoints(table).any(|e| e.instance == *instance);
            let (thread, table) = threads.find(|(_, table)| routes(table))?;
            let (id, revision) = (worker.id, table.revision);
            Some(format!(
                "thread {thread} of worker {id} with table {revision}"
            ))
        })
    }

    /// Whoever else has this port or cell in a table that is still followed.
    pub(crate) fn user_of(
        &self,
        instance: &InstanceId,
        port: Option<u16>,
        cell: u32,
    ) -> Option<InstanceId> {
        let tables = self.workers.iter().flat_map(|worker| &worker.threads);
        let mut all = tables.flat_map(|table| endpoints(table));
        let user = all.find(|endpoint| {
            let same = Some(endpoint.address.port()) == port || endpoint.cell.0 == cell;
            same && endpoint.instance != *instance
        });
        user.map(|endpoint| endpoint.instance.clone())
    }

    /// Requests open at an instance.
    pub(crate) fn open_at(&self, instance: &InstanceId, now: u64) -> u64 {
        let open = self.open.iter();
        let open = open.filter(|open| open.until > now && open.instance == *instance);
        open.count() as u64
    }

    /// What is open at an instance ends.
    pub(crate) fn end_at(&mut self, instance: &InstanceId) {
        self.open.retain(|open| open.instance != *instance);
    }
}
