//! Why the proxy closed a connection that had no request.

/// Why the proxy closed a client's connection that had no request: nobody was failed by it.
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
}

impl Closed {
    /// How many there are.
    pub const COUNT: usize = 4;
    /// All of them, in the order of their indices.
    pub const ALL: [Self; Self::COUNT] = [Self::Silent, Self::Idle, Self::Room, Self::Ending];

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
