//! Idle connections to endpoints, the most recently used first.

use std::cell::{Cell as Local, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http1::Method;
use rustix::net::RecvFlags;
use socket2::{Domain, Protocol, Socket, Type};
use tls::Trust;
use tokio::net::TcpStream;
use traffic::{Cell, Endpoint};

use crate::clock::micros;
use crate::links::Link;
use crate::stream::Stream as _;
use crate::wire::{Wire, is_same};

/// Idle connections to one endpoint that a thread keeps.
const IDLE_MAX: usize = 256;
/// How long one is kept without use.
pub(crate) const IDLE_TIME: Duration = Duration::from_secs(30);

/// Where a connection leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) cell: Cell,
    pub(crate) address: SocketAddr,
    pub(crate) protocol: model::Protocol,
}

impl Place {
    pub(crate) fn of(endpoint: &Endpoint) -> Self {
        Self {
            cell: endpoint.cell,
            address: endpoint.address,
            protocol: endpoint.protocol,
        }
    }
}

#[derive(Debug)]
struct Idle {
    link: Link<Wire>,
    address: SocketAddr,
    since_micros: u64,
}

/// The idle connections of a thread.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    cells: RefCell<BTreeMap<Cell, Vec<Idle>>>,
    len: Local<u32>,
}

impl Pool {
    /// How many there are.
    pub(crate) fn len(&self) -> u32 {
        self.len.get()
    }

    fn change(&self, by: i32) {
        self.len.set(self.len.get().saturating_add_signed(by));
    }

    /// Keeps what `is_kept` says, of every endpoint.
    fn keep(&self, mut is_kept: impl FnMut(Cell, &mut Idle) -> bool) {
        let mut len = 0;
        self.cells.borrow_mut().retain(|&cell, idle| {
            idle.retain_mut(|one| is_kept(cell, one));
            len += idle.len();
            !idle.is_empty()
        });
        self.len.set(u32::try_from(len).unwrap_or(u32::MAX));
    }

    /// Closes every second one. False if there was none.
    pub(crate) fn shrink(&self) -> bool {
        let before = self.len();
        let mut number = 0_u32;
        self.keep(|_, _| {
            number += 1;
            number.is_multiple_of(2)
        });
        before > 0
    }

    /// Takes a connection that may carry a request with `method`.
    pub(crate) fn take(
        &self,
        (place, trust): (Place, Option<&Arc<Trust>>),
        method: Method,
        now_micros: u64,
    ) -> Option<Link<Wire>> {
        let mut cells = self.cells.borrow_mut();
        let idle = cells.get_mut(&place.cell)?;
        while let Some(mut one) = idle.pop() {
            self.change(-1);
            let since = Duration::from_micros(now_micros.saturating_sub(one.since_micros));
            if !http1::may_use_idle(method, since) {
                // Those below have been idle for longer still.
                idle.push(one);
                self.change(1);
                return None;
            }
            let stream = &mut one.link.stream;
            let quiet = is_quiet(stream)
                && (method.is_idempotent() || is_surely_open(stream.socket()))
                && is_same(stream.trust(), trust);
            if one.address == place.address && quiet {
                return Some(one.link);
            }
        }
        None
    }

    /// True if there is an idle connection to an endpoint.
    pub(crate) fn has(&self, cell: Cell) -> bool {
        let cells = self.cells.borrow();
        cells.get(&cell).is_some_and(|idle| !idle.is_empty())
    }

    /// Closes one connection to an endpoint. False: there is none.
    pub(crate) fn close_one(&self, cell: Cell) -> bool {
        let mut cells = self.cells.borrow_mut();
        let closed = cells.get_mut(&cell).and_then(Vec::pop);
        self.change(if closed.is_some() { -1 } else { 0 });
        closed.is_some()
    }

    /// Keeps a connection for later.
    pub(crate) fn put(&self, place: Place, link: Link<Wire>, now_micros: u64) {
        let mut cells = self.cells.borrow_mut();
        let idle = cells.entry(place.cell).or_default();
        if idle.len() < IDLE_MAX {
            idle.push(Idle {
                link,
                address: place.address,
                since_micros: now_micros,
            });
            self.change(1);
        }
    }

    /// Closes the connections to every endpoint that is not kept.
    pub(crate) fn retain(&self, is_kept: impl Fn(Cell) -> bool) {
        self.keep(|cell, _| is_kept(cell));
    }

    /// Closes what the endpoints have closed, and what nobody has used for long.
    pub(crate) fn sweep(&self, now_micros: u64) {
        let oldest = now_micros.saturating_sub(micros(IDLE_TIME));
        self.keep(|_, one| one.since_micros >= oldest && is_quiet(&mut one.link.stream));
    }
}

/// True unless the runtime knows that the connection was closed or that bytes have come.
fn is_quiet(stream: &mut Wire) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    stream.poll_read_ready(&mut context).is_pending()
}

/// Asks the kernel instead: true if the connection is open and nothing has come.
pub(crate) fn is_surely_open(stream: &TcpStream) -> bool {
    let mut byte = [0_u8; 1];
    let peeked = rustix::net::recv(stream, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT);
    peeked.err() == Some(rustix::io::Errno::AGAIN)
}

/// Begins to connect.
pub(crate) fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error)
            if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(error),
    }
    TcpStream::from_std(socket.into())
}

/// Waits until a connection stands.
pub(crate) fn poll_connected(
    context: &mut Context<'_>,
    stream: &TcpStream,
) -> Poll<io::Result<()>> {
    stream.poll_write_ready(context).map(|ready| {
        ready?;
        stream.take_error()?.map_or(Ok(()), Err)
    })
}
