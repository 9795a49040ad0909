//! Why the proxy closed a connection that had no request.

use crate::listed::listed;

listed! {
    /// Why the proxy closed a client's connection that had no request, or that broke the rules:
    /// nobody was failed by it.
    pub enum Closed {
        /// It was new and said nothing in the time that a request's head may take.
        Silent => "silent",
        /// It was kept for another request for its whole time.
        Idle => "idle",
        /// Descriptors ran short, and others had more use for them.
        Room => "room",
        /// The server ends.
        Ending => "ending",
        /// TLS could not be agreed upon.
        Handshake => "handshake",
        /// The handshake of TLS did not end in time.
        HandshakeTimeout => "handshake_timeout",
        /// Its frames broke the rules of HTTP/2.
        Protocol => "protocol",
        /// It began streams and took them back.
        FloodResets => "flood_resets",
        /// It asked for answers to pings.
        FloodPings => "flood_pings",
        /// It changed its settings over and over.
        FloodSettings => "flood_settings",
        /// Its frames carried nothing.
        FloodEmpty => "flood_empty",
        /// A head came in too many frames.
        FloodContinuation => "flood_continuation",
        /// It announced room, priorities or what nobody knows over and over.
        FloodWindows => "flood_windows",
        /// It asked for more than it may in another way.
        Flood => "flood",
    }
}
