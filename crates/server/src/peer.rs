//! Who is at the other end of a connection, as the kernel says.

use std::io;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::net::{UnixListener, UnixStream};

/// The process that connected.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    uid: Option<u32>,
    pid: Option<i32>,
}

impl Peer {
    fn of(stream: &UnixStream) -> Self {
        let credentials = stream.peer_cred().ok();
        Self {
            uid: credentials.map(|peer| peer.uid()),
            pid: credentials.and_then(|peer| peer.pid()),
        }
    }

    /// Whether it may use the API: the server's own user and root may.
    pub(crate) fn is_allowed(self) -> bool {
        let own = rustix::process::geteuid().as_raw();
        self.uid.is_some_and(|uid| uid == own || uid == 0)
    }

    /// The peer's name in the audit.
    pub(crate) fn actor(self) -> String {
        let number = |number: Option<i64>| number.map_or("?".to_owned(), |n| n.to_string());
        let uid = number(self.uid.map(i64::from));
        let pid = number(self.pid.map(i64::from));
        format!("uid {uid}, pid {pid}")
    }
}

/// The socket, with the peer in place of an address.
pub(crate) struct Listening(pub(crate) UnixListener);

impl Listener for Listening {
    type Io = UnixStream;
    type Addr = Peer;

    async fn accept(&mut self) -> (UnixStream, Peer) {
        // Retries, with a pause when descriptors are short.
        let (stream, _) = Listener::accept(&mut self.0).await;
        let peer = Peer::of(&stream);
        (stream, peer)
    }

    fn local_addr(&self) -> io::Result<Peer> {
        Ok(Peer {
            uid: None,
            pid: None,
        })
    }
}

impl Connected<IncomingStream<'_, Listening>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Listening>) -> Self {
        *stream.remote_addr()
    }
}
