//! Answers that the proxy makes itself: marked as its own, and counted by reason.

use http1::{ClientSide, ErrorPage, Framing, Method, Persist, ProxyError, Refusal, Version};
use model::Maintenance;
use traffic::Rejected;

use crate::access::{Account, By, Line, Stage, Termination};
use crate::client::{After, Client};
use crate::clock::{now_micros, wall_micros};
use crate::exchange::Exchange;
use crate::stream::Stream;
use crate::visit::Visit;

/// What is said to the client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reply<'a> {
    rejected: Rejected,
    status: u16,
    reason: &'static str,
    message: &'static str,
    retry_after_seconds: Option<u32>,
    page: Option<ErrorPage<'a>>,
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

    /// The answer to a head that is none.
    pub(crate) fn refusing(refusal: Refusal) -> Self {
        Self {
            rejected: Rejected::BadRequest,
            status: refusal.status(),
            reason: refusal.reason(),
            message: refusal.message(),
            retry_after_seconds: Rejected::BadRequest.retry_after_seconds(),
            page: None,
        }
    }

    fn write(
        &self,
        (persist, request_id): (Persist, Option<&[u8]>),
        (client, method): (Version, Method),
        out: &mut Vec<u8>,
    ) {
        let error = ProxyError {
            status: self.status,
            reason: self.reason,
            message: self.message,
            page: self.page,
            retry_after_seconds: self.retry_after_seconds,
            request_id,
            persist,
            client,
            method,
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
        let shape = (Version::Http11, Method::Get);
        reply.write((Persist::Close, None), shape, &mut exchange.down.out);
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
            protocol: "HTTP/1.1",
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
        let shape = (side.version(), exchange.request.method());
        let id = visit.caller.request_id(&exchange.request);
        let account = &mut visit.account;
        account.status = rejected.status();
        account.reason = Some(rejected.name());
        account.termination.get_or_insert(termination(rejected));
        let reply = Reply::of(rejected)
            .after(visit.retry_after_seconds(rejected))
            .shown(visit.maintenance());
        reply.write((persist, Some(id)), shape, &mut exchange.down.out);
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
fn termination(rejected: Rejected) -> Termination {
    match rejected {
        Rejected::NoRoute
        | Rejected::Connections
        | Rejected::ClientConnections
        | Rejected::BodyTooLarge
        | Rejected::Overload
        | Rejected::Maintenance => Termination(By::Proxy, Stage::Route),
        Rejected::BadRequest | Rejected::HeadTimeout => Termination(By::Client, Stage::Head),
        Rejected::BodyTimeout => Termination(By::Client, Stage::Request),
        Rejected::NoEndpoint | Rejected::Paused => Termination(By::Proxy, Stage::Queue),
        Rejected::Connect => Termination(By::Upstream, Stage::Connect),
        Rejected::NoResponse | Rejected::BadResponse | Rejected::Timeout => {
            Termination(By::Upstream, Stage::Waiting)
        }
        Rejected::Cut => Termination(By::Proxy, Stage::Waiting),
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
        | Rejected::NoResponse
        | Rejected::BadResponse
        | Rejected::Timeout
        | Rejected::Paused
        | Rejected::Maintenance => wish,
    }
}
