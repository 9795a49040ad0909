//! Connections that begin with a PROXY protocol header: read before the first request is, or
//! before the handshake of TLS.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use http1::{Introduced, Introduction};
use model::Revision;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;

use crate::buffer::Fill;
use crate::client::{Arrival, Client};
use crate::exchange::Exchange;
use crate::orders::Ending;
use crate::stream::Stream;
use crate::thread::Thread;
use crate::watch::State;

/// How much is looked at at a time before a handshake.
const PEEKED_BYTES: usize = 512;

/// How connections to an address begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beginning {
    /// With a request.
    Plain,
    /// With a header that names the client.
    Introduced,
    /// That is not known before the first table.
    Unknown,
}

/// Why it is not known whose a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotKnown {
    /// The header, or the table that says whether there is one, did not come in time.
    Late,
    /// The peer left.
    Gone,
    /// There is no header, or not from someone who may send one.
    Stranger,
}

impl Thread {
    /// How connections to an address begin.
    fn beginning(&self, address: SocketAddr) -> Beginning {
        self.with_routing(|routing| {
            let mut listeners = routing.table.listeners.iter();
            match listeners.find(|listener| listener.address == address) {
                Some(listener) if listener.proxy_protocol => Beginning::Introduced,
                None if routing.revision() == Revision::default() => Beginning::Unknown,
                Some(_) | None => Beginning::Plain,
            }
        })
    }

    fn trusts(&self, peer: SocketAddr) -> bool {
        self.with_routing(|routing| routing.table.peers.trusts(peer.ip()))
    }
}

impl Arrival {
    /// Finds out whose connection this is, and reads no byte beyond the header that says so.
    ///
    /// # Errors
    ///
    /// [`NotKnown`]: then the connection is to be closed.
    pub(crate) async fn introduced(&mut self, stream: &TcpStream) -> Result<(), NotKnown> {
        match self.thread.beginning(self.entrance.address) {
            // Whoever has what is needed for a handshake has a table, too.
            Beginning::Plain | Beginning::Unknown => return Ok(()),
            Beginning::Introduced if !self.thread.trusts(self.peer) => {
                return Err(NotKnown::Stranger);
            }
            Beginning::Introduced => {}
        }
        let mut header = Vec::new();
        let introduction = poll_fn(|context| self.poll_header(context, stream, &mut header)).await;
        if let Introduction::For(client) = introduction? {
            self.peer = client;
            if !self.is_within_bound() {
                return Err(NotKnown::Stranger);
            }
        }
        Ok(())
    }

    /// Bytes are looked at first, and taken once it is known that they belong to the header.
    fn poll_header(
        &self,
        context: &mut Context<'_>,
        stream: &TcpStream,
        header: &mut Vec<u8>,
    ) -> Poll<Result<Introduction, NotKnown>> {
        loop {
            let mut bytes = [0; PEEKED_BYTES];
            let mut room = ReadBuf::new(&mut bytes);
            let seen = match stream.poll_peek(context, &mut room) {
                Poll::Ready(Ok(1..)) => room.filled(),
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(NotKnown::Gone)),
                Poll::Pending if self.watch.is_overdue() => {
                    return Poll::Ready(Err(NotKnown::Late));
                }
                Poll::Pending if self.thread.ending() >= Ending::Closing => {
                    return Poll::Ready(Err(NotKnown::Gone));
                }
                Poll::Pending => return Poll::Pending,
            };
            let before = header.len();
            header.extend_from_slice(seen);
            let (own, whole) = match http1::read_introduction(header) {
                Err(_) => return Poll::Ready(Err(NotKnown::Stranger)),
                Ok(Introduced::Partly) => (seen.len(), None),
                Ok(Introduced::Whole(bytes, whole)) => (bytes - before, Some(whole)),
            };
            let taken = stream.try_read(&mut bytes[..own]);
            match (taken, whole) {
                (Ok(count), _) if count != own => return Poll::Ready(Err(NotKnown::Gone)),
                (Err(_), _) => return Poll::Ready(Err(NotKnown::Gone)),
                (Ok(_), Some(whole)) => return Poll::Ready(Ok(whole)),
                (Ok(_), None) => {}
            }
        }
    }
}

impl<S: Stream> Client<S> {
    /// Finds out whose connection this is, some of whose bytes are there.
    ///
    /// # Errors
    ///
    /// [`NotKnown`]: then the connection is to be closed.
    pub(crate) async fn introduced(&mut self, exchange: &mut Exchange) -> Result<(), NotKnown> {
        let beginning = self.thread.beginning(self.entrance.address);
        // Before a handshake its header was read already.
        if beginning == Beginning::Plain || self.is_secured() {
            return Ok(());
        }
        self.watch
            .set_deadline_in(self.thread.settings.head_timeout);
        poll_fn(|context| self.poll_introduced(context, exchange)).await
    }

    fn poll_introduced(
        &mut self,
        context: &mut Context<'_>,
        exchange: &mut Exchange,
    ) -> Poll<Result<(), NotKnown>> {
        loop {
            let read = http1::read_introduction(exchange.up.input.filled());
            match (self.thread.beginning(self.entrance.address), read) {
                // What is no header is a request, and its sender is believed in nothing.
                (Beginning::Plain, _) | (Beginning::Unknown, Err(_)) => return Poll::Ready(Ok(())),
                (Beginning::Unknown, Ok(Introduced::Whole(..))) => {
                    self.watch.set_state(State::Waiting);
                    return self.patience();
                }
                (Beginning::Introduced, _) if !self.thread.trusts(self.peer) => return refused(),
                (Beginning::Introduced, Err(_)) => return refused(),
                (Beginning::Introduced, Ok(Introduced::Whole(bytes, introduction))) => {
                    exchange.up.input.consume(bytes);
                    if let Introduction::For(client) = introduction {
                        self.rename(client);
                        if !self.is_within_bound() {
                            return refused();
                        }
                    }
                    return Poll::Ready(Ok(()));
                }
                (Beginning::Introduced | Beginning::Unknown, Ok(Introduced::Partly)) => {
                    self.watch.set_state(State::Busy);
                }
            }
            let input = &mut exchange.up.input;
            match input.poll_fill(context, &mut self.stream, &self.thread.blocks) {
                Poll::Ready(Ok(Fill::Bytes)) => {}
                Poll::Ready(Ok(Fill::Full)) => return refused(),
                Poll::Ready(Ok(Fill::End) | Err(_)) => return Poll::Ready(Err(NotKnown::Gone)),
                Poll::Pending => return self.patience(),
            }
        }
    }

    fn patience(&self) -> Poll<Result<(), NotKnown>> {
        if self.watch.is_overdue() {
            Poll::Ready(Err(NotKnown::Late))
        } else {
            Poll::Pending
        }
    }
}

fn refused() -> Poll<Result<(), NotKnown>> {
    Poll::Ready(Err(NotKnown::Stranger))
}
