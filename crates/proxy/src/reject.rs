//! Answers that the proxy makes itself: marked as its own, and counted by reason.

use http1::{
    ClientSide, ErrorPage, Framing, Method, Persist, ProxyError, Refusal, RequestHead, Version,
};
use model::Maintenance;
use traffic::Rejected;

use crate::access::{Account, By, Line, Stage, Termination};
use crate::client::{After, Client};
use crate::clock::{now_micros, wall_micros};
use crate::exchange::Exchange;
use crate::relay::streamed::is_grpc;
use crate::stream::Stream;
use crate::visit::Visit;

/// The port that URLs with `https` need not name.
const HTTPS_PORT: u16 = 443;

/// What the answer's form depends on.
#[derive(Debug)]
struct Shape<'a> {
    version: Version,
    method: Method,
    request_id: Option<&'a [u8]>,
    location: Option<Vec<u8>>,
}

/// What is said to the client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reply<'a> {
    rejected: Rejected,
    status: u16,
    reason: &'static str,
    message: &'static str,
    retry_after_seconds: Option<u32>,
    page: Option<ErrorPage<'a>>,
    /// The status for a client of gRPC.
    grpc: Option<u8>,
}

impl<'a> Reply<'a> {
    pub(crate) fn of(rejected: Rejected) -> Self {
        Self {
            rejected,
            status: rejected.status(),
            reason: rejected.name(),
            message: rejected.message(),
            retry_after_seconds: rejected.retry_after_seconds(),
            page: None,
            grpc: None,
        }
    }

    /// The same, with a better time to come back if one is known.
    fn after(mut self, seconds: Option<u32>) -> Self {
        self.retry_after_seconds = seconds.or(self.retry_after_seconds);
        self
    }

    /// The same, shown as an operator wrote it.
    fn shown(mut self, maintenance: Option<&'a Maintenance>) -> Self {
        let page = maintenance.and_then(|maintenance| maintenance.page.as_ref());
        self.page = page.map(|page| ErrorPage {
            content_type: &page.content_type,
            body: page.body.as_bytes(),
        });
        self
    }

    /// The same, in the words of what the request is made in.
    fn to(mut self, request: &RequestHead) -> Self {
        if is_grpc(request) {
            self.grpc = Some(traffic::grpc::code_of(self.rejected));
        }
        self
    }

    /// The answer to a head that is none.
    pub(crate) fn refusing(refusal: Refusal) -> Self {
        Self {
            rejected: Rejected::BadRequest,
            status: refusal.status(),
            reason: refusal.reason(),
            message: refusal.message(),
            retry_after_seconds: Rejected::BadRequest.retry_after_seconds(),
            page: None,
            grpc: None,
        }
    }

    fn write(&self, persist: Persist, shape: &Shape<'_>, out: &mut Vec<u8>) {
        let error = ProxyError {
            status: self.status,
            reason: self.reason,
            message: self.message,
            page: self.page,
            grpc: self.grpc,
            retry_after_seconds: self.retry_after_seconds,
            request_id: shape.request_id,
            location: shape.location.as_deref(),
            persist,
            client: shape.version,
            method: shape.method,
        };
        http1::write_error(&error, out);
    }
}

impl<S: Stream> Client<S> {
    /// Answers what was never a request, and closes.
    pub(crate) async fn refuse(&mut self, exchange: &mut Exchange, reply: Reply<'_>) -> After {
        self.thread.writer.rejected(None, reply.rejected);
        self.set_reading(false);
        self.note_unread(Account {
            status: reply.status,
            reason: Some(reply.reason),
            termination: Some(termination(reply.rejected)),
            ..Account::default()
        });
        exchange.down.begin();
        let shape = Shape {
            version: Version::Http11,
            method: Method::Get,
            request_id: None,
            location: None,
        };
        reply.write(Persist::Close, &shape, &mut exchange.down.out);
        self.watch
            .set_deadline_in(self.thread.settings.head_timeout);
        if self.flush(exchange).await.is_ok() {
            self.linger(exchange).await;
        }
        After::Gone
    }

    /// Writes the access log's line about what was never a request.
    pub(crate) fn note_unread(&self, account: Account) {
        if !self.thread.access.is_on() {
            return;
        }
        let now = now_micros();
        self.thread.access.note(&Line {
            client: self.peer_text.as_bytes(),
            protocol: S::PROTOCOL.unwrap_or("HTTP/1.1"),
            account,
            arrived_micros: now,
            ended_micros: now,
            wall_micros: wall_micros(),
            ..Line::default()
        });
    }

    /// Answers a request in an endpoint's stead.
    pub(crate) async fn reject(
        &mut self,
        exchange: &mut Exchange,
        visit: &mut Visit,
        rejected: Rejected,
    ) -> After {
        visit.count_rejected(&self.thread, rejected, now_micros());
        self.set_reading(false);
        exchange.down.begin();
        let side: &mut ClientSide = &mut visit.client_side;
        let wish = wish_after(rejected, self.thread.wish());
        let persist = side.begin_response(Framing::Length(1), wish);
        let account = &mut visit.account;
        account.status = rejected.status();
        account.reason = Some(rejected.name());
        account.termination.get_or_insert(termination(rejected));
        let shape = Shape {
            version: side.version(),
            method: exchange.request.method(),
            request_id: Some(visit.caller.request_id(&exchange.request)),
            location: location(rejected, &exchange.request, visit.https_port),
        };
        let reply = Reply::of(rejected)
            .after(visit.retry_after_seconds(rejected))
            .shown(visit.maintenance())
            .to(&exchange.request);
        reply.write(persist, &shape, &mut exchange.down.out);
        self.watch
            .set_deadline_in(self.thread.settings.head_timeout);
        match self.flush(exchange).await {
            Ok(()) => {
                visit.client_side.response_ended();
                After::Answered(visit.client_side.next())
            }
            Err(_) => After::Gone,
        }
    }
}

/// Who is to blame for an answer of ours, and how far the request had come.
pub(crate) fn termination(rejected: Rejected) -> Termination {
    match rejected {
        Rejected::NoRoute
        | Rejected::Connections
        | Rejected::ClientConnections
        | Rejected::BodyTooLarge
        | Rejected::Overload
        | Rejected::Maintenance
        | Rejected::Misdirected
        | Rejected::Redirected => Termination(By::Proxy, Stage::Route),
        Rejected::BadRequest | Rejected::HeadTimeout => Termination(By::Client, Stage::Head),
        Rejected::BodyTimeout => Termination(By::Client, Stage::Request),
        Rejected::NoEndpoint | Rejected::Paused | Rejected::QueueFull | Rejected::QueueTimeout => {
            Termination(By::Proxy, Stage::Queue)
        }
        Rejected::Connect | Rejected::NotSecured => Termination(By::Upstream, Stage::Connect),
        Rejected::NoResponse
        | Rejected::BadResponse
        | Rejected::Timeout
        | Rejected::DeadlineTry => Termination(By::Upstream, Stage::Waiting),
        Rejected::Cut | Rejected::DeadlineTotal => Termination(By::Proxy, Stage::Waiting),
    }
}

/// A client that broke off or garbled its body is not heard out, and one whose instance was
/// stopped under it has no use for its connection: mostly the server itself ends then.
fn wish_after(rejected: Rejected, wish: Persist) -> Persist {
    match rejected {
        Rejected::BadRequest | Rejected::BodyTimeout | Rejected::HeadTimeout | Rejected::Cut => {
            Persist::Close
        }
        Rejected::NoRoute
        | Rejected::Connections
        | Rejected::ClientConnections
        | Rejected::BodyTooLarge
        | Rejected::NoEndpoint
        | Rejected::Overload
        | Rejected::Connect
        | Rejected::NotSecured
        | Rejected::NoResponse
        | Rejected::BadResponse
        | Rejected::Timeout
        | Rejected::DeadlineTry
        | Rejected::DeadlineTotal
        | Rejected::Paused
        | Rejected::Maintenance
        | Rejected::Misdirected
        | Rejected::Redirected
        | Rejected::QueueFull
        | Rejected::QueueTimeout => wish,
    }
}

/// The same URL over TLS, for a request that is to be sent there.
fn location(rejected: Rejected, request: &RequestHead, port: u16) -> Option<Vec<u8>> {
    if rejected != Rejected::Redirected {
        return None;
    }
    let mut url = b"https://".to_vec();
    url.extend_from_slice(request.hostname()?);
    if port != HTTPS_PORT {
        url.extend_from_slice(format!(":{port}").as_bytes());
    }
    url.extend_from_slice(request.path());
    if let Some(query) = request.query() {
        url.push(b'?');
        url.extend_from_slice(query);
    }
    Some(url)
}
