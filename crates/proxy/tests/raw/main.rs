//! The proxy against raw sockets on both sides: clients that never retry, programs that
//! misbehave on purpose.
#![expect(clippy::unwrap_used, reason = "a test fails where it is surprised")]

mod access;
mod any_split;
mod balances;
mod basics;
mod calls;
mod chaos;
mod closed;
mod cutover;
mod deadlines;
mod edges;
mod endings;
mod exact;
mod faults;
mod forwarding;
mod frames;
mod goodbyes;
mod grpc;
mod half_closed;
mod hedges;
mod hostile;
mod http2;
mod identities;
mod introductions;
mod killed;
mod limits;
mod pauses;
mod pressure;
mod programs;
mod refusals;
mod repeats;
mod resets;
mod rests;
mod secure;
mod shadow;
mod splits;
mod streams;
mod strict;
mod tcp;
mod waits;
mod world;
