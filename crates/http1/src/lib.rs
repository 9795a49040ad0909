//! A sans-I/O HTTP/1.1 codec that refuses every ambiguity.
//!
//! The proxy owns the sockets and the buffers; this room decides. A request's life:
//!
//! 1. [`RequestHead::read`] on the client's bytes, until it says how many the head took (the
//!    head keeps its own copy, so the read buffer is free and a retry has what it needs);
//! 2. [`write_request`] into the upstream's buffer; a [`BodyRelay`] for the body, if any;
//! 3. [`ResponseHead::read`] on the answer, [`UpstreamSide::answer`] to learn whether it is
//!    interim, a tunnel or final, then [`write_interim`] or [`write_response`] and a second
//!    [`BodyRelay`];
//! 4. [`UpstreamSide::may_reuse`] and [`ClientSide::next`] say what becomes of both
//!    connections.
//!
//! Every limit is a constant of [`limits`]. Nothing here allocates per header.

mod ascii;
mod body;
mod exchange;
mod field;
mod forwarded;
mod framing;
mod introduction;
pub mod limits;
mod method;
mod refusal;
mod relay;
mod reply;
mod request;
mod response;
mod rewrite;
mod scan;
mod target;
mod trace;
mod trailer;

pub use body::{BodyError, BodyReader, Segment, SegmentKind};
pub use exchange::{
    Answer, AnswerError, ClientSide, DiscardError, Next, Persist, UpstreamSide, may_use_idle,
};
pub use field::{CLIENT_SUBJECT, FieldKind, Fields, Header};
pub use forwarded::{Forwarded, PeerTrust, origin};
pub use framing::Framing;
pub use introduction::{
    INTRODUCTION_BYTES_MAX, Introduced, Introduction, IntroductionVersion, NotIntroduced,
    read_introduction, write_introduction,
};
pub use method::{Method, Version};
pub use refusal::Refusal;
pub use relay::BodyRelay;
pub use reply::{ErrorPage, ProxyError, write_error};
pub use request::RequestHead;
pub use response::ResponseHead;
pub use rewrite::{
    RewriteRequest, RewriteResponse, Tunnel, write_interim, write_request, write_response,
};
pub use trace::{
    REQUEST_ID, Sampled, TRACEPARENT, TRACESTATE, new_request_id, new_traceparent, request_id,
    traceparent,
};
