//! Connections that begin with a PROXY protocol header: read before the first request is.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use http1::{Introduced, Introduction};
use model::Revision;

use crate::buffer::Fill;
use crate::client::Client;
use crate::exchange::Exchange;
use crate::stream::Stream;
use crate::thread::Thread;
use crate::watch::State;

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
}

impl<S: Stream> Client<S> {
    /// Finds out whose connection this is, some of whose bytes are there.
    ///
    /// # Errors
    ///
    /// [`NotKnown`]: then the connection is to be closed.
    pub(crate) async fn introduced(&mut self, exchange: &mut Exchange) -> Result<(), NotKnown> {
        if self.thread.beginning(self.entrance.address) == Beginning::Plain {
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
                (Beginning::Introduced, _) if !self.is_trusted() => return refused(),
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

    fn is_trusted(&self) -> bool {
        let peer = self.peer.ip();
        self.thread
            .with_routing(|routing| routing.table.peers.trusts(peer))
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
