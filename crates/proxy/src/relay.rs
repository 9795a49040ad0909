//! Moves one request up and its response down until one of them cannot go on.

pub(crate) mod streamed;

use std::pin::Pin;
use std::task::{Context, Poll};

use http1::{
    Answer, BodyRelay, Framing, REQUEST_ID, RequestHead, ResponseHead, RewriteResponse,
    UpstreamSide,
};
use model::Carrier;
use tokio::time::Sleep;
use traffic::{Late, Progress, Rejected};

use crate::attempt::overdue;
use crate::buffer::Fill;
use crate::claim::Connection;
use crate::client::Client;
use crate::clock::now_micros;
use crate::flow::Flow;
use crate::presence::Asking;
use crate::stream::Stream;
use crate::upstream::Upstream;
use crate::visit::Visit;

/// How an endpoint failed a request before its response began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    Connect,
    NotSecured,
    NoResponse,
    BadResponse,
    Timeout,
    /// A time that the request has is over.
    Late(Late),
}

/// How a relay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The response is with the client, whole.
    Whole,
    /// Both sides changed the protocol.
    Tunnel,
    /// Nothing has come of the response, and a second attempt is worth it.
    Slow,
    /// The endpoint failed before its response began.
    Unanswered(Failure, Progress),
    /// The endpoint ended a response that had begun.
    Truncated,
    /// The endpoint went on with something that is no response.
    Garbled,
    /// The endpoint went silent within its response, or took longer than it may.
    Stalled,
    /// The same, and a client of gRPC was told so in its program's stead.
    Overdue,
    /// The client left, or takes no more.
    ClientGone,
    /// The client broke the rules.
    ClientFault(Rejected),
    /// We ended it.
    Cut,
    /// We ended a stream of events before its endpoint is cut.
    Parted,
}

/// Whether anything moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moved {
    Yes,
    No,
}

/// One attempt at one endpoint.
#[derive(Debug)]
pub(crate) struct Relay<'a, S: Stream> {
    pub(crate) client: &'a mut Client<S>,
    pub(crate) upstream: &'a mut Upstream,
    pub(crate) connection: Connection,
    pub(crate) request: &'a RequestHead,
    pub(crate) response: &'a mut ResponseHead,
    pub(crate) up: &'a mut Flow,
    pub(crate) down: &'a mut Flow,
    pub(crate) visit: &'a mut Visit,
    pub(crate) upstream_side: UpstreamSide,
    /// When a second attempt is worth it.
    pub(crate) slow: Option<Pin<Box<Sleep>>>,
    /// The endpoint reads no more of the request; its response may still come.
    pub(crate) is_up_broken: bool,
    /// The final response's head was judged.
    pub(crate) is_begun: bool,
    pub(crate) is_tunnel: bool,
    /// A silent stream was given more time.
    pub(crate) is_patient: bool,
    /// The response was ended in its program's stead.
    pub(crate) is_parted: bool,
    /// Its first bytes, which were not all of it, were acknowledged at once.
    pub(crate) is_hurried: bool,
}

impl<S: Stream> Relay<'_, S> {
    /// Sets the first deadline.
    pub(crate) fn begin(&self) {
        if streamed::is_grpc(self.request) {
            self.is_carried_by(Carrier::Stream);
        }
        let patience = self.visit.limits.idle_timeout;
        let watch = &self.client.watch;
        watch.set_deadline_before(patience, self.visit.until());
    }

    fn is_carried_by(&self, carrier: Carrier) {
        let thread = &self.client.thread;
        self.client.watch.set_carrier(carrier, || thread.random());
    }

    /// Moves what can be moved.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<End> {
        let advanced = match self.advance(context) {
            Err(End::Stalled) => Err(self.end_overdue(context)),
            other => other,
        };
        match advanced {
            Ok(()) if self.poll_slow(context).is_ready() => Poll::Ready(End::Slow),
            Ok(()) => Poll::Pending,
            Err(end) => Poll::Ready(end),
        }
    }

    /// Ready once nothing of the response has come for so long that a second attempt is worth it.
    fn poll_slow(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let is_answered = self.is_begun
            || self.is_tunnel
            || self.upstream_side.has_answered()
            || !self.down.input.is_empty();
        if is_answered {
            self.slow = None;
        }
        // What is not sent yet cannot be answered.
        let is_sent = !self.is_up_broken && self.up.is_flushed();
        match &mut self.slow {
            Some(slow) if is_sent => slow.as_mut().poll(context),
            Some(_) | None => Poll::Pending,
        }
    }

    fn advance(&mut self, context: &mut Context<'_>) -> Result<(), End> {
        if self.part(context)? {
            return Ok(());
        }
        let mut moved = Moved::No;
        loop {
            let up = self.move_up(context)?;
            let down = self.move_down(context)?;
            if up == Moved::No && down == Moved::No {
                break;
            }
            moved = Moved::Yes;
        }
        let until = self.visit.until();
        let watch = &self.client.watch;
        match moved {
            // What never stops moving has its deadline all the same.
            Moved::Yes if until <= self.client.thread.watches.coarse_micros() => {
                Err(self.lateness())
            }
            Moved::Yes => {
                self.is_patient = false;
                watch.set_deadline_before(self.patience(), until);
                Ok(())
            }
            Moved::No if watch.is_overdue() => self.be_patient(),
            Moved::No => Ok(()),
        }
    }

    /// How long nothing may move.
    fn patience(&self) -> std::time::Duration {
        if self.is_begun || !self.is_request_sent() {
            self.visit.limits.idle_timeout
        } else {
            self.visit.limits.response_timeout
        }
    }

    fn is_request_sent(&self) -> bool {
        self.is_up_broken || (self.up.is_flushed() && self.up.is_body_ended())
    }

    /// What becomes of it when its time is over: that of the request, or of whoever is silent.
    fn lateness(&self) -> End {
        let now = self.client.thread.watches.coarse_micros();
        let Some(late) = self.visit.late(now) else {
            return self.silence();
        };
        let is_upload_slow = self.up.is_flushed() && !self.is_request_sent();
        if is_upload_slow || !self.down.is_flushed() {
            End::ClientFault(Rejected::DeadlineTotal)
        } else if self.is_begun {
            End::Stalled
        } else {
            overdue(late)
        }
    }

    /// Who it was that did not move.
    fn silence(&self) -> End {
        if !self.down.is_flushed() {
            End::ClientGone
        } else if self.is_begun {
            if self.is_request_sent() || !self.up.is_flushed() {
                End::Stalled
            } else {
                End::ClientGone
            }
        } else if self.up.is_flushed() && !self.up.is_body_ended() && !self.is_up_broken {
            End::ClientFault(Rejected::BodyTimeout)
        } else {
            End::Unanswered(Failure::Timeout, Progress::Answered)
        }
    }

    fn move_up(&mut self, context: &mut Context<'_>) -> Result<Moved, End> {
        if self.is_up_broken || (self.up.is_flushed() && self.up.is_body_ended()) {
            return self.watch_client(context);
        }
        match self.up.poll_write(context, self.upstream) {
            Poll::Pending => return Ok(Moved::No),
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => {
                self.is_up_broken = true;
                return Ok(Moved::Yes);
            }
        }
        if self.up.is_body_ended() {
            self.upstream_side.request_ended();
            self.visit.client_side.request_ended();
            if self.visit.deadlines.has_attempts() {
                self.visit.deadlines.sent(now_micros());
            }
            if let Some(copy) = self.up.copy.take() {
                copy.send();
            }
            return Ok(Moved::Yes);
        }
        if self.up.input.is_empty() {
            match self.up.input.poll_fill(
                context,
                &mut self.client.stream,
                &self.client.thread.blocks,
            ) {
                Poll::Pending => return Ok(Moved::No),
                Poll::Ready(Ok(Fill::Bytes | Fill::Full)) => {}
                Poll::Ready(Ok(Fill::End) | Err(_)) => return Err(End::ClientGone),
            }
        }
        self.take_request_body()
    }

    fn take_request_body(&mut self) -> Result<Moved, End> {
        let fault = |rejected| Err(End::ClientFault(rejected));
        let Ok(taken) = self.up.take_body() else {
            return fault(Rejected::BadRequest);
        };
        self.visit.client_side.body_read(taken);
        let payload = self.up.relay.as_ref().map_or(0, BodyRelay::payload_bytes);
        if payload > self.visit.limits.body_bytes_max {
            return fault(Rejected::BodyTooLarge);
        }
        Ok(Moved::Yes)
    }

    /// Keeps what the client sends early, and notices when it leaves.
    fn watch_client(&mut self, context: &mut Context<'_>) -> Result<Moved, End> {
        let asking = if self.is_begun || self.is_tunnel || !self.down.is_flushed() {
            Asking::Forbidden
        } else {
            Asking::before_response::<S>(self.visit.client_side.version())
        };
        match self.client.poll_gone(context, self.up, asking) {
            Poll::Pending => Ok(Moved::No),
            Poll::Ready(()) => Err(End::ClientGone),
        }
    }

    fn move_down(&mut self, context: &mut Context<'_>) -> Result<Moved, End> {
        match self.down.poll_write(context, &mut self.client.stream) {
            Poll::Pending => return Ok(Moved::No),
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => return Err(End::ClientGone),
        }
        if self.is_tunnel {
            return Err(End::Tunnel);
        }
        if self.is_begun && self.down.is_body_ended() {
            self.visit.client_side.response_ended();
            return Err(End::Whole);
        }
        if self.digest()? == Moved::Yes {
            return Ok(Moved::Yes);
        }
        match self
            .down
            .input
            .poll_fill(context, self.upstream, &self.client.thread.blocks)
        {
            Poll::Pending => Ok(Moved::No),
            Poll::Ready(Ok(Fill::Bytes)) => {
                self.digest()?;
                self.hurry();
                Ok(Moved::Yes)
            }
            Poll::Ready(Ok(Fill::End)) => self.end_of_response(),
            Poll::Ready(Ok(Fill::Full)) => Err(self.bad_response()),
            Poll::Ready(Err(_)) => Err(self.broken_off()),
        }
    }

    /// Has a program go on at once that writes the head and the body apart: its kernel holds back
    /// the second piece until the first is acknowledged, and ours would take 40 ms to do so
    /// (RFC 896 meets RFC 1122, 4.2.3.2).
    fn hurry(&mut self) {
        let is_whole = self.is_begun && self.down.is_body_ended();
        if !is_whole && !self.is_hurried {
            self.is_hurried = true;
            self.upstream.acknowledge();
        }
    }

    /// Works through what the endpoint sent.
    fn digest(&mut self) -> Result<Moved, End> {
        let mut moved = Moved::No;
        while !self.is_begun && !self.is_tunnel && !self.down.input.is_empty() {
            self.visit.deadlines.answered();
            match self.response.read(self.down.input.filled()) {
                Ok(Some(bytes)) => self.down.input.consume(bytes),
                Ok(None) => return Ok(moved),
                Err(_) => return Err(self.bad_response()),
            }
            self.answer()?;
            moved = Moved::Yes;
        }
        if self.is_begun && self.down.take_body().map_err(|_| End::Garbled)? > 0 {
            moved = Moved::Yes;
        }
        if self.is_begun && self.down.is_body_ended() {
            self.upstream_side.response_ended();
        }
        Ok(moved)
    }

    fn answer(&mut self) -> Result<(), End> {
        match self.upstream_side.answer(self.request, self.response) {
            Err(_) => Err(self.bad_response()),
            Ok(Answer::Interim) => {
                if self.visit.client_side.version() == http1::Version::Http11 {
                    http1::write_interim(self.response, &mut self.down.out);
                }
                if self.response.status() == 100 {
                    self.visit.client_side.continued();
                }
                Ok(())
            }
            Ok(Answer::Tunnel) => {
                http1::write_interim(self.response, &mut self.down.out);
                self.visit.client_side.tunnel_began();
                self.begin_response();
                self.is_tunnel = true;
                Ok(())
            }
            Ok(Answer::Final(framing)) => {
                self.write_head(framing);
                self.begin_response();
                if streamed::is_event_stream(self.response) {
                    self.is_carried_by(Carrier::Stream);
                    self.visit.deadlines.lift();
                }
                self.is_begun = true;
                Ok(())
            }
        }
    }

    fn write_head(&mut self, framing: Framing) {
        let side = &mut self.visit.client_side;
        let towards = framing.towards(side.version());
        let persist = side.begin_response(towards, self.client.thread.wish());
        let cookie = self.visit.new_cookie.map(|cookie| cookie.set_cookie());
        let hsts = self.visit.hsts.filter(|_| self.client.is_secured());
        let hsts = hsts.map(|span| format!("max-age={}", span.as_secs()));
        let mut extra = [("", &b""[..]); 2];
        let mut extras = 0;
        let set_cookie = cookie.as_ref().map(|text| ("set-cookie", text.as_bytes()));
        let hsts = hsts.as_ref();
        let hsts = hsts.map(|text| ("strict-transport-security", text.as_bytes()));
        for one in [set_cookie, hsts].into_iter().flatten() {
            extra[extras] = one;
            extras += 1;
        }
        let rewrite = RewriteResponse {
            client: side.version(),
            method: self.request.method(),
            persist,
            extra: &extra[..extras],
            replace: &[(REQUEST_ID, self.visit.caller.request_id(self.request))],
        };
        http1::write_response(self.response, &rewrite, &mut self.down.out);
        if !framing.is_empty() {
            self.down.relay = Some(BodyRelay::for_response(framing, side.version()));
        }
    }

    fn begin_response(&mut self) {
        self.visit.account.status = self.response.status();
        if let Some(service) = self.visit.service {
            let (arrived, now) = (self.visit.arrived_micros, now_micros());
            self.visit.account.begun_micros = now;
            self.visit.note_answered(&self.client.thread, now);
            self.client
                .thread
                .writer
                .response_begins(service, arrived, now);
        }
    }

    fn end_of_response(&mut self) -> Result<Moved, End> {
        if !self.is_begun {
            return Err(self.broken_off());
        }
        let Some(relay) = &mut self.down.relay else {
            return Err(End::Truncated);
        };
        match relay.end_of_input(&mut self.down.out) {
            Ok(()) => {
                self.upstream_side.response_ended();
                Ok(Moved::Yes)
            }
            Err(_) => Err(End::Truncated),
        }
    }

    /// The connection ended where no response could end.
    fn broken_off(&self) -> End {
        let is_garbled = self.upstream.is_garbled();
        if self.is_begun {
            return if is_garbled {
                End::Garbled
            } else {
                End::Truncated
            };
        }
        let is_answered = self.upstream_side.has_answered() || !self.down.input.is_empty();
        let progress = match (is_answered, self.up.has_begun(), self.connection) {
            (true, _, _) => Progress::Answered,
            (false, false, _) => Progress::NothingSent,
            (false, true, _) if self.upstream.is_unread() => Progress::NothingRead,
            (false, true, Connection::Reused) => Progress::SentOnReused,
            (false, true, Connection::New) => Progress::SentOnNew,
        };
        let failure = match is_garbled {
            true => Failure::BadResponse,
            false => Failure::NoResponse,
        };
        End::Unanswered(failure, progress)
    }

    fn bad_response(&self) -> End {
        if self.is_begun {
            End::Garbled
        } else {
            End::Unanswered(Failure::BadResponse, Progress::Answered)
        }
    }
}
