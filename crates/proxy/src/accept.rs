//! Takes connections off the listening sockets.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Socket, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use traffic::{ListenerKind, Rejected};

use crate::client::{Arrival, Client, Security};
use crate::orders::Ending;
use crate::secure;
use crate::serve;
use crate::stream::{Opaque, Stream as _};
use crate::tcp;
use crate::thread::Thread;

/// How long to wait when there is no descriptor for another connection; the connection waits
/// in the socket meanwhile.
const BACK_OFF: Duration = Duration::from_millis(50);

/// After this silence the kernel asks whether a client is still there, since a tunnel may be
/// silent for as long as it likes.
const SILENCE: Duration = Duration::from_secs(60);
const ASK_AGAIN: Duration = Duration::from_secs(15);

/// Sockets that nobody else has are closed once nothing came for so long: longer than the last
/// packet of a handshake takes that was begun here.
const QUIET: Duration = Duration::from_secs(2);
/// How often that is waited for. New connections are steered elsewhere by then, if they can be.
const QUIET_WAITS_MAX: u32 = 15;

/// Where connections come in.
#[derive(Debug)]
pub(crate) struct Entrance {
    /// The address that the table's listener has.
    pub(crate) address: SocketAddr,
    /// What it was bound for; a table may say otherwise.
    kind: ListenerKind,
    /// The same as text: the host of requests that name none.
    pub(crate) host: String,
}

/// The tasks that accept.
#[derive(Debug)]
pub(crate) struct Listeners {
    thread: Rc<Thread>,
    tasks: Vec<(SocketAddr, AbortHandle)>,
    leaving: bool,
}

impl Listeners {
    pub(crate) fn new(thread: Rc<Thread>) -> Self {
        Self {
            thread,
            tasks: Vec::new(),
            leaving: false,
        }
    }

    pub(crate) fn add(&mut self, (address, kind): (SocketAddr, ListenerKind), socket: OwnedFd) {
        match prepared(socket) {
            Ok(listener) => {
                let task = accept(Rc::clone(&self.thread), (address, kind), listener);
                self.tasks
                    .push((address, tokio::task::spawn_local(task).abort_handle()));
            }
            Err(error) => tracing::error!(%address, %error, "cannot accept on a listening socket"),
        }
    }

    pub(crate) fn remove(&mut self, address: SocketAddr) {
        self.tasks.retain(|(there, task)| {
            let stays = *there != address;
            if !stays {
                task.abort();
            }
            stays
        });
    }

    /// Accepts until nothing comes any more, then has the thread drain.
    pub(crate) fn leave(&mut self) {
        if !std::mem::replace(&mut self.leaving, true) {
            tokio::task::spawn_local(leave(Rc::clone(&self.thread)));
        }
    }

    pub(crate) fn remove_all(&mut self) {
        self.tasks.drain(..).for_each(|(_, task)| task.abort());
    }
}

/// A listening socket whose connections are made as we want them: options are inherited.
fn prepared(socket: OwnedFd) -> io::Result<TcpListener> {
    let socket = Socket::from(socket);
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(SILENCE)
            .with_interval(ASK_AGAIN),
    )?;
    TcpListener::from_std(socket.into())
}

async fn leave(thread: Rc<Thread>) {
    for _ in 0..QUIET_WAITS_MAX {
        let before = thread.arrivals();
        tokio::time::sleep(QUIET).await;
        if thread.arrivals() == before {
            break;
        }
    }
    thread.end(Ending::Draining);
}

async fn accept(
    thread: Rc<Thread>,
    (address, kind): (SocketAddr, ListenerKind),
    listener: TcpListener,
) {
    let entrance = Rc::new(Entrance {
        address,
        kind,
        host: address.to_string(),
    });
    let mut is_exhausted = false;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                is_exhausted = false;
                thread.arrival();
                begin(&thread, &entrance, stream, peer);
            }
            Err(error) if is_exhaustion(&error) => {
                if !is_exhausted {
                    tracing::warn!(%address, %error, "no descriptor for another connection");
                }
                is_exhausted = true;
                thread.arrival();
                thread.let_some_go();
                tokio::time::sleep(BACK_OFF).await;
            }
            Err(error) => {
                tracing::debug!(%address, %error, "a connection ended before it was accepted")
            }
        }
    }
}

fn begin(thread: &Rc<Thread>, entrance: &Rc<Entrance>, mut stream: TcpStream, peer: SocketAddr) {
    let mut arrival = Arrival::new(Rc::clone(thread), Rc::clone(entrance), peer);
    let kind = thread.with_routing(|routing| routing.kind(entrance.address));
    let rejected = if !arrival.is_within_bound() {
        Some(Rejected::ClientConnections)
    } else if !thread.has_room_for_client() {
        Some(Rejected::Connections)
    } else {
        None
    };
    match (kind.unwrap_or(entrance.kind), rejected) {
        (ListenerKind::Http | ListenerKind::Internal, None) => {
            let client = Client::new(arrival, stream, Security::Plain);
            tokio::task::spawn_local(serve::serve(client));
        }
        (ListenerKind::Https, None) => {
            tokio::task::spawn_local(secure::serve(arrival, stream));
        }
        (ListenerKind::Http | ListenerKind::Internal, Some(rejected)) => {
            let client = Client::new(arrival, stream, Security::Plain);
            tokio::task::spawn_local(serve::turn_away(client, rejected));
        }
        (ListenerKind::Tcp, None) => {
            let client = Client::new(arrival, Opaque(stream), Security::Plain);
            tokio::task::spawn_local(tcp::serve(client));
        }
        // A handshake would cost more than is saved.
        (ListenerKind::Https, Some(rejected)) => thread.writer.rejected(None, rejected),
        // There is no language to say why in.
        (ListenerKind::Tcp, Some(rejected)) => {
            thread.writer.rejected(None, rejected);
            stream.abort();
        }
    }
}

fn is_exhaustion(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM]
        .iter()
        .any(|errno| code == Some(errno.raw_os_error()))
}
