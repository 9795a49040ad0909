//! TLS from clients: the handshake, and a connection that was secured.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use model::ClientCertificates;
use rustls::ServerConfig;
use rustls::server::Acceptor;
use tokio::io::{AsyncBufRead as _, AsyncWrite as _};
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use traffic::{Closed, Rejected};

use crate::client::{Arrival, Client, Security};
use crate::http2;
use crate::introduce::NotKnown;
use crate::orders::Ending;
use crate::serve;
use crate::stream::Stream;
use crate::watch::State;

const HTTP2: &[u8] = b"h2";

/// What the protocols are called in a handshake, the preferred first.
pub(crate) const PROTOCOLS: &[&[u8]] = &[HTTP2, b"http/1.1"];

/// What a client said in its handshake.
#[derive(Debug)]
pub(crate) struct Secured {
    /// The host it asked for, in lower case.
    pub(crate) host: Option<Box<str>>,
    /// What it was asked to show.
    pub(crate) demand: Option<Arc<ClientCertificates>>,
    /// Who it has proven to be.
    pub(crate) subject: Option<Box<str>>,
}

impl Stream for TlsStream<TcpStream> {
    fn poll_read_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self).poll_fill_buf(context).map_ok(|_| ())
    }

    fn is_quiet(&self) -> bool {
        self.get_ref().0.is_quiet()
    }

    fn is_broken(&self) -> bool {
        self.get_ref().0.is_broken()
    }

    fn is_hung_up(&self) -> bool {
        self.get_ref().0.is_hung_up()
    }

    fn poll_goodbye(&mut self, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(self).poll_shutdown(context).map(drop)
    }

    fn abort(&mut self) {
        self.get_mut().0.abort();
    }
}

/// Secures a connection and has it served.
pub(crate) async fn serve(mut arrival: Arrival, stream: TcpStream) {
    poll_fn(|context| {
        arrival.watch.wake_me(context);
        Poll::Ready(())
    })
    .await;
    // Whatever wakes connections that wait for a table also brings the first certificates.
    arrival.watch.set_state(State::Waiting);
    let timeout = arrival.thread.settings.head_timeout;
    arrival.watch.set_deadline_in(timeout);
    if !is_open(&arrival).await {
        return;
    }
    arrival.watch.set_state(State::Busy);
    match arrival.introduced(&stream).await {
        Ok(()) => {}
        Err(NotKnown::Late) => return arrival.thread.writer.closed(Closed::HandshakeTimeout),
        Err(NotKnown::Stranger) => {
            return arrival.thread.writer.rejected(None, Rejected::BadRequest);
        }
        Err(NotKnown::Gone) => return,
    }
    match handshake(&arrival, stream).await {
        Ok((stream, demand)) => {
            let session = stream.get_ref().1;
            let host = session.server_name();
            let host = host.map(|host| host.to_ascii_lowercase().into());
            let shown = session.peer_certificates().and_then(<[_]>::first);
            let subject = shown.and_then(tls::subject).map(Into::into);
            let security = Security::Tls(Rc::new(Secured {
                host,
                demand,
                subject,
            }));
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
            let client = Client::new(arrival, stream, security);
            // In tasks of their own: the size of a handshake ends with it.
            if is_http2 {
                tokio::task::spawn_local(http2::serve(client, Vec::new()));
            } else {
                tokio::task::spawn_local(serve::serve(client));
            }
        }
        Err(Some(refused)) => arrival.thread.writer.closed(refused),
        Err(None) => {}
    }
}

/// True as soon as anybody can be served; false if that takes too long.
async fn is_open(arrival: &Arrival) -> bool {
    poll_fn(|_| match arrival.thread.doors().is_open() {
        true => Poll::Ready(true),
        false if is_over(arrival) => Poll::Ready(false),
        false => Poll::Pending,
    })
    .await
}

/// Agrees upon keys, and upon who must show what by the host that is asked for. The error says
/// how to count it; `None`: not at all.
async fn handshake(
    arrival: &Arrival,
    stream: TcpStream,
) -> Result<(TlsStream<TcpStream>, Option<Arc<ClientCertificates>>), Option<Closed>> {
    let hello = LazyConfigAcceptor::new(Acceptor::default(), stream);
    let begun = in_time(arrival, hello).await?;
    let host = begun
        .client_hello()
        .server_name()
        .map(str::to_ascii_lowercase);
    let (config, demand) = configured(arrival, host.as_deref()).await?;
    let stream = in_time(arrival, begun.into_stream(config)).await?;
    Ok((stream, demand))
}

/// What the connections that ask for a host are secured with, as soon as that is there.
async fn configured(
    arrival: &Arrival,
    host: Option<&str>,
) -> Result<(Arc<ServerConfig>, Option<Arc<ClientCertificates>>), Option<Closed>> {
    poll_fn(|_| {
        let doors = arrival.thread.doors();
        let door = doors.at(host);
        match &door.config {
            Some(config) => Poll::Ready(Ok((Arc::clone(config), door.demand.clone()))),
            None if is_over(arrival) => Poll::Ready(Err(late(arrival))),
            None => Poll::Pending,
        }
    })
    .await
}

/// A step of a handshake, as long as there is time for it.
async fn in_time<T>(
    arrival: &Arrival,
    step: impl Future<Output = io::Result<T>>,
) -> Result<T, Option<Closed>> {
    let mut step = pin!(step);
    poll_fn(|context| {
        if let Poll::Ready(done) = step.as_mut().poll(context) {
            return Poll::Ready(done.map_err(|error| Some(refusal(&error))));
        }
        match is_over(arrival) {
            true => Poll::Ready(Err(late(arrival))),
            false => Poll::Pending,
        }
    })
    .await
}

/// How a handshake is counted that was broken off.
fn late(arrival: &Arrival) -> Option<Closed> {
    arrival
        .watch
        .is_overdue()
        .then_some(Closed::HandshakeTimeout)
}

fn refusal(error: &io::Error) -> Closed {
    tracing::debug!(%error, "a handshake failed");
    Closed::Handshake
}

fn is_over(arrival: &Arrival) -> bool {
    arrival.watch.is_overdue() || arrival.thread.ending() >= Ending::Closing
}
