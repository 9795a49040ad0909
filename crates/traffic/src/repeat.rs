//! May a failed attempt be made again?
//!
//! Only where the program cannot have seen the request, or where seeing it twice is the same
//! as seeing it once. Where it goes is [`crate::choose`]'s to say.

/// The most attempts that one request is given.
pub const ATTEMPTS_MAX: u8 = 3;

/// How far a failed attempt had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// No byte of the request was sent.
    NothingSent,
    /// Some of the request was sent, and the endpoint has said that it looked at none of it.
    NothingRead,
    /// Some of the request was sent, on a connection made for it.
    SentOnNew,
    /// Some of the request was sent, on a connection that had carried others.
    SentOnReused,
    /// All of it was sent, and no byte of a response came in the time that an attempt has.
    Silent,
    /// A byte of a response came.
    Answered,
}

/// What is left of the request's body on our side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyHeld {
    /// All of it that was read, or there is none.
    Whole,
    /// Some of it is gone.
    Gone,
}

/// A failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailedAttempt {
    /// Its number, from 1.
    pub number: u8,
    /// How far it had come.
    pub progress: Progress,
    /// Whether doing the request twice is the same as doing it once.
    pub idempotent: bool,
    /// What is left of the body.
    pub body: BodyHeld,
}

impl FailedAttempt {
    /// True if the request may be sent again.
    #[must_use]
    pub fn may_repeat(self) -> bool {
        let allowed = match self.progress {
            Progress::NothingSent | Progress::NothingRead => true,
            Progress::SentOnReused | Progress::Silent => self.idempotent,
            Progress::SentOnNew | Progress::Answered => false,
        };
        allowed && self.body == BodyHeld::Whole && self.number < ATTEMPTS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRESS: [Progress; 6] = [
        Progress::NothingSent,
        Progress::NothingRead,
        Progress::SentOnNew,
        Progress::SentOnReused,
        Progress::Silent,
        Progress::Answered,
    ];

    fn attempt(progress: Progress, idempotent: bool, body: BodyHeld) -> FailedAttempt {
        FailedAttempt {
            number: 1,
            progress,
            idempotent,
            body,
        }
    }

    #[test]
    fn the_whole_table() {
        let whole =
            |progress, idempotent| attempt(progress, idempotent, BodyHeld::Whole).may_repeat();
        assert_eq!(
            PROGRESS.map(|progress| whole(progress, true)),
            [true, true, false, true, true, false]
        );
        assert_eq!(
            PROGRESS.map(|progress| whole(progress, false)),
            [true, true, false, false, false, false]
        );
    }

    #[test]
    fn a_body_that_is_gone_is_never_sent_again() {
        for progress in PROGRESS {
            for idempotent in [false, true] {
                assert!(!attempt(progress, idempotent, BodyHeld::Gone).may_repeat());
            }
        }
    }

    #[test]
    fn attempts_are_bounded() {
        let mut number = 1;
        while (FailedAttempt {
            number,
            ..attempt(Progress::NothingSent, false, BodyHeld::Whole)
        })
        .may_repeat()
        {
            number += 1;
        }
        assert_eq!(number, ATTEMPTS_MAX);
    }
}
