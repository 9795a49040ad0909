//! Who a request comes from, and the names that it is known by from here on.

use std::net::{IpAddr, SocketAddr};

use http1::{
    CLIENT_SUBJECT, Forwarded, PeerTrust, Persist, REQUEST_ID, RequestHead, RewriteRequest,
    Sampled, TRACEPARENT, TRACESTATE, Tunnel,
};
use model::{Peers, Share};

use crate::client::Client;
use crate::stream::Stream;
use crate::thread::Thread;

/// Who sent a request, as far as the peer that brought it is believed.
#[derive(Debug)]
pub(crate) struct Caller {
    /// The client's address: the peer's own, or the one that a trusted peer names.
    pub(crate) address: IpAddr,
    /// The same in text, if it is not the peer's.
    text: Option<String>,
    trust: PeerTrust,
    /// The id made here; `None`: the request's own is kept.
    request_id: Option<[u8; 32]>,
    /// The trace begun here; `None`: the request's own is passed on.
    trace: Option<[u8; 55]>,
}

impl Caller {
    pub(crate) fn new<S: Stream>(client: &Client<S>, request: &RequestHead) -> Self {
        let peer = client.peer.ip().to_canonical();
        client.thread.with_routing(|routing| {
            let peers = &routing.table.peers;
            let (address, trust) = if peers.trusts(peer) {
                let address = http1::origin(request, peer, |address| peers.trusts(address));
                (address, PeerTrust::Trusted)
            } else {
                (peer, PeerTrust::Untrusted)
            };
            let is_kept = trust == PeerTrust::Trusted && http1::request_id(request).is_some();
            Self {
                address,
                text: (address != peer).then(|| address.to_string()),
                trust,
                request_id: (!is_kept).then(|| http1::new_request_id(wide(&client.thread))),
                trace: http1::traceparent(request)
                    .is_none()
                    .then(|| begun(&client.thread, peers)),
            }
        })
    }

    /// The client's address and port, as far as they are known.
    pub(crate) fn source<S: Stream>(&self, client: &Client<S>) -> SocketAddr {
        match self.text {
            // A trusted peer names addresses without ports.
            Some(_) => SocketAddr::new(self.address, 0),
            None => client.peer,
        }
    }

    /// The request's id.
    pub(crate) fn request_id<'a>(&'a self, request: &'a RequestHead) -> &'a [u8] {
        match &self.request_id {
            Some(made) => made,
            None => http1::request_id(request).unwrap_or_default(),
        }
    }

    /// Header fields that replace the request's own on the way to the program.
    pub(crate) fn fields<'a, S: Stream>(&'a self, client: &'a Client<S>) -> Fields<'a> {
        let mut fields = Fields::default();
        // Nobody else's word is taken for it.
        let subject = client.subject().unwrap_or_default();
        fields.push((CLIENT_SUBJECT, subject.as_bytes()));
        if let Some(id) = &self.request_id {
            fields.push((REQUEST_ID, id));
        }
        if let Some(trace) = &self.trace {
            fields.push((TRACEPARENT, trace));
            // What others noted about a trace means nothing for another one.
            fields.push((TRACESTATE, b""));
        }
        fields
    }

    /// How the request's head is written for the program.
    pub(crate) fn rewrite<'a, S: Stream>(
        &'a self,
        client: &'a Client<S>,
        (fields, persist): (&'a Fields<'a>, Persist),
    ) -> RewriteRequest<'a> {
        RewriteRequest {
            forwarded: Forwarded {
                peer: &client.peer_text,
                client: self.text.as_deref().unwrap_or(&client.peer_text),
                proto: client.scheme(),
                trust: self.trust,
            },
            default_host: &client.entrance.host,
            replace: fields.as_slice(),
            tunnel: Tunnel::Offered,
            persist,
        }
    }
}

/// Up to four header fields of ours.
#[derive(Debug, Default)]
pub(crate) struct Fields<'a> {
    fields: [(&'a str, &'a [u8]); 4],
    count: usize,
}

impl<'a> Fields<'a> {
    fn push(&mut self, field: (&'a str, &'a [u8])) {
        self.fields[self.count] = field;
        self.count += 1;
    }

    pub(crate) fn as_slice(&self) -> &[(&'a str, &'a [u8])] {
        &self.fields[..self.count]
    }
}

fn wide(thread: &Thread) -> u128 {
    u128::from(thread.random()) << 64 | u128::from(thread.random())
}

fn begun(thread: &Thread, peers: &Peers) -> [u8; 55] {
    let drawn = thread.random() % u64::from(Share::ALL.basis_points());
    let sampled = if drawn < u64::from(peers.trace_sampled.basis_points()) {
        Sampled::Yes
    } else {
        Sampled::No
    };
    http1::new_traceparent((wide(thread), thread.random()), sampled)
}
