//! What a thread is told, kept until it looks: the newest table only, so nothing piles up.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::Drain;
use tokio::sync::Notify;
use traffic::{Cell, ListenerKind};

use crate::keeper::Tls;
use crate::routing::Routing;

/// A change of what is listened on.
#[derive(Debug)]
pub(crate) enum Listening {
    /// Accept on this socket too.
    Add((SocketAddr, ListenerKind), OwnedFd),
    /// Accept no more at this address.
    Remove(SocketAddr),
}

/// How far a thread is to end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ending {
    /// Not at all.
    #[default]
    Serving,
    /// Close each connection after its next response, but accept what still comes until nothing
    /// does: nobody else has these sockets, and what waits in them when they close is reset.
    Leaving,
    /// Accept nothing more and close each connection after its next response.
    Draining,
    /// The same, and close connections that have no request.
    Closing,
    /// End now, whatever is open.
    Now,
}

/// Orders that a thread has not looked at yet.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    pub(crate) routing: Option<Arc<Routing>>,
    /// What connections are secured with from now on.
    pub(crate) tls: Option<Tls>,
    pub(crate) listening: Vec<Listening>,
    pub(crate) cut: BTreeSet<Cell>,
    /// How long it is until what is open at an endpoint is cut.
    pub(crate) parting: BTreeMap<Cell, Drain>,
    /// The same for all endpoints, since the thread itself is to end.
    pub(crate) leaving: Option<Duration>,
    /// Services at whose endpoints there may be a place.
    pub(crate) freed: BTreeSet<Cell>,
    /// Services whose idle connections others need.
    pub(crate) shed: BTreeSet<Cell>,
    pub(crate) ending: Ending,
}

/// The orders of one thread.
#[derive(Debug, Default)]
pub(crate) struct OrderBox {
    orders: Mutex<Orders>,
    news: Notify,
}

impl OrderBox {
    /// Changes the orders and wakes the thread.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Orders)) {
        change(&mut self.lock());
        self.news.notify_one();
    }

    /// Waits until there may be orders, and takes them. `ending` stays as it is.
    pub(crate) async fn take(&self) -> Orders {
        self.news.notified().await;
        let mut orders = self.lock();
        let ending = orders.ending;
        let taken = std::mem::take(&mut *orders);
        orders.ending = ending;
        taken
    }

    fn lock(&self) -> MutexGuard<'_, Orders> {
        // Every change is a single assignment or push: a panic cannot leave it half done.
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
