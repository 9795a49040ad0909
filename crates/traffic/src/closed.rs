//! Why the proxy closed a connection that had no request.

/// Why the proxy closed a client's connection that had no request, or that broke the rules:
/// nobody was failed by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Closed {
    /// It was new and said nothing in the time that a request's head may take.
    Silent,
    /// It was kept for another request for its whole time.
    Idle,
    /// Descriptors ran short, and others had more use for them.
    Room,
    /// The server ends.
    Ending,
    /// TLS could not be agreed upon.
    Handshake,
    /// The handshake of TLS did not end in time.
    HandshakeTimeout,
    /// Its frames broke the rules of HTTP/2.
    Protocol,
    /// It began streams and took them back.
    FloodResets,
    /// It asked for answers to pings.
    FloodPings,
    /// It changed its settings over and over.
    FloodSettings,
    /// Its frames carried nothing.
    FloodEmpty,
    /// A head came in too many frames.
    FloodContinuation,
    /// It announced room, priorities or what nobody knows over and over.
    FloodWindows,
    /// It asked for more than it may in another way.
    Flood,
}

impl Closed {
    /// How many there are.
    pub const COUNT: usize = 14;
    /// All of them, in the order of their indices.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Silent,
        Self::Idle,
        Self::Room,
        Self::Ending,
        Self::Handshake,
        Self::HandshakeTimeout,
        Self::Protocol,
        Self::FloodResets,
        Self::FloodPings,
        Self::FloodSettings,
        Self::FloodEmpty,
        Self::FloodContinuation,
        Self::FloodWindows,
        Self::Flood,
    ];

    /// Its index, below [`Closed::COUNT`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Its fixed name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Idle => "idle",
            Self::Room => "room",
            Self::Ending => "ending",
            Self::Handshake => "handshake",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::Protocol => "protocol",
            Self::FloodResets => "flood_resets",
            Self::FloodPings => "flood_pings",
            Self::FloodSettings => "flood_settings",
            Self::FloodEmpty => "flood_empty",
            Self::FloodContinuation => "flood_continuation",
            Self::FloodWindows => "flood_windows",
            Self::Flood => "flood",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_places_in_the_list() {
        for (at, closed) in Closed::ALL.into_iter().enumerate() {
            assert_eq!(closed.index(), at);
        }
    }
}
