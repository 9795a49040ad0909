//! A request's copy while the request is sent on.

use std::rc::Rc;
use std::time::Duration;

use http1::{Framing, Method, RequestHead};
use model::ShadowKey;
use traffic::{Cell, Dropped, ServiceTable};

use super::room::Room;
use crate::thread::Thread;

/// Answers that are kept to be compared.
const ANSWERS: usize = 3;

/// A request that was drawn to be copied.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Drawn {
    key: ShadowKey,
    service: Cell,
    body_bytes_max: u64,
    /// Whether answers to it are compared.
    pub(crate) compares: bool,
    /// Connecting and answering may take so long.
    limit: Duration,
}

impl Drawn {
    /// Draws a request of a service that has a shadow, before its first attempt; `None`: it is
    /// not copied.
    pub(crate) fn new(
        thread: &Thread,
        (service, release): (&ServiceTable, model::ReleaseId),
        request: &RequestHead,
    ) -> Option<Self> {
        let shadow = service.shadow.as_ref()?;
        let method = std::str::from_utf8(request.method_name()).ok()?;
        let random = thread.random();
        if request.upgrade().is_some() || !shadow.draws(method, release, random) {
            return None;
        }
        let limits = &service.limits;
        Some(Self {
            key: shadow.key,
            service: service.cell,
            body_bytes_max: shadow.policy.body_bytes_max,
            compares: shadow.policy.compare.is_some(),
            limit: limits
                .connect_timeout
                .saturating_add(limits.response_timeout),
        })
    }

    /// What the program is told.
    pub(crate) fn mark(&self) -> &'static [u8] {
        if self.compares { b"compare" } else { b"mirror" }
    }

    /// Why a request with this body is not copied; else the room that it needs.
    fn bytes(&self, head_bytes: usize, framing: Framing) -> Result<usize, Dropped> {
        let most = usize::try_from(self.body_bytes_max).unwrap_or(usize::MAX);
        let body = match framing {
            Framing::None => 0,
            Framing::Length(bytes) if bytes > self.body_bytes_max => {
                return Err(Dropped::BodyTooLarge);
            }
            Framing::Length(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX),
            Framing::Chunked | Framing::UntilClose => most,
        };
        let answers = if self.compares { most * ANSWERS } else { 0 };
        Ok(head_bytes.saturating_add(body).saturating_add(answers))
    }
}

/// What the thread that asks shadows gets.
#[derive(Debug)]
pub(crate) struct Copied {
    pub(crate) key: ShadowKey,
    pub(crate) service: Cell,
    pub(crate) method: Method,
    /// What differences are counted by.
    pub(crate) route: String,
    /// The request as it is sent: head and body.
    pub(crate) bytes: Vec<u8>,
    /// What the connection begins with.
    pub(crate) introduction: Vec<u8>,
    pub(crate) limit: Duration,
    pub(crate) _room: Room,
}

/// A copy that is not whole yet. Counted as dropped unless it is sent.
#[derive(Debug)]
pub(crate) struct Copy {
    thread: Rc<Thread>,
    service: Cell,
    /// Framing included.
    body_bytes: u64,
    body_bytes_max: u64,
    dropped: Dropped,
    copied: Option<Copied>,
}

impl Copy {
    /// Begins with the head, which `write` writes, for a connection that begins with
    /// `introduction`. `None`, and counted: there is no room.
    pub(crate) fn begin(
        thread: &Rc<Thread>,
        drawn: &Drawn,
        request: &RequestHead,
        (introduction, write): (Vec<u8>, impl FnOnce(&mut Vec<u8>)),
    ) -> Option<Box<Self>> {
        let mut bytes = Vec::new();
        write(&mut bytes);
        let room = drawn.bytes(bytes.len(), request.framing());
        let room = room.and_then(|bytes| thread.shadows.room(bytes).ok_or(Dropped::Full));
        let room = match room {
            Ok(room) => room,
            Err(dropped) => {
                thread.writer.not_copied(drawn.service, dropped);
                return None;
            }
        };
        let route = match drawn.compares {
            true => {
                let method = String::from_utf8_lossy(request.method_name());
                verdict::route(&method, request.path())
            }
            false => String::new(),
        };
        Some(Box::new(Self {
            thread: Rc::clone(thread),
            service: drawn.service,
            body_bytes: 0,
            body_bytes_max: drawn.body_bytes_max,
            dropped: Dropped::Unfinished,
            copied: Some(Copied {
                key: drawn.key,
                service: drawn.service,
                method: request.method(),
                route,
                bytes,
                introduction,
                limit: drawn.limit,
                _room: room,
            }),
        }))
    }

    /// Adds bytes of the body. False: it is too long.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> bool {
        self.body_bytes += bytes.len() as u64;
        if self.body_bytes > self.body_bytes_max {
            self.dropped = Dropped::BodyTooLarge;
            return false;
        }
        if let Some(copied) = &mut self.copied {
            copied.bytes.extend_from_slice(bytes);
        }
        true
    }

    /// Hands the copy over: the request is whole.
    pub(crate) fn send(mut self) {
        if let Some(copied) = self.copied.take()
            && !self.thread.shadows.send(copied)
        {
            self.thread.writer.not_copied(self.service, Dropped::Over);
        }
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if self.copied.is_some() {
            self.thread.writer.not_copied(self.service, self.dropped);
        }
    }
}
