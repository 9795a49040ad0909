//! Enumerations whose cases count something: each knows its place, and all are known.

/// Defines an enumeration with `COUNT`, `ALL` and `index`, and where each case has a name after
/// `=>`, with `name`.
macro_rules! listed {
    (
        $(#[$about:meta])*
        pub enum $Enum:ident { $($(#[$case_about:meta])* $Case:ident => $name:literal,)+ }
    ) => {
        listed! { $(#[$about])* pub enum $Enum { $($(#[$case_about])* $Case,)+ } }

        impl $Enum {
            /// Its fixed name, on receipts, in logs and in metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$Case => $name,)+
                }
            }
        }
    };
    (
        $(#[$about:meta])*
        pub enum $Enum:ident { $($(#[$case_about:meta])* $Case:ident,)+ }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $Enum { $($(#[$case_about])* $Case,)+ }

        impl $Enum {
            /// All of them, in the order of their indices.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$Case,)+];
            /// How many there are.
            pub const COUNT: usize = [$(Self::$Case,)+].len();

            /// Its place in [`Self::ALL`].
            #[must_use]
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

pub(crate) use listed;

#[cfg(test)]
mod tests {
    use crate::{Closed, Outcome, Phase, Rejected};

    #[test]
    fn indices_are_places_in_the_lists() {
        for (at, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome.index(), at);
        }
        for (at, rejected) in Rejected::ALL.into_iter().enumerate() {
            assert_eq!(rejected.index(), at);
        }
        for (at, closed) in Closed::ALL.into_iter().enumerate() {
            assert_eq!(closed.index(), at);
        }
        assert_eq!(Phase::ALL.map(Phase::index), [0, 1]);
    }
}
