//! Gives memory back to the machine when most connections have gone.
//!
//! The C library keeps what is freed, and gives back only what lies at the end of its heap,
//! where something small is always in use: fifteen thousand connections that went away would
//! cost 27 MB for ever. It gives all of it back when asked.

use std::cell::Cell as Local;

use crate::sys::give_back_memory;

/// Fewer connections than this hold too little to look for.
const WORTH_LOOKING: u32 = 1_024;
/// How many sweeps in a row find less than half of the connections before memory is looked
/// through, which takes milliseconds: nobody should pay for a crowd that only breathes.
const CALM_SWEEPS: u32 = 5;

/// Remembers how many connections there were.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    most: Local<u32>,
    calm: Local<u32>,
}

impl Crowd {
    /// Notes how many there are now, and gives memory back if most have gone for good.
    pub(crate) fn note(&self, connections: u32) {
        if self.has_gone(connections) {
            give_back_memory();
        }
    }

    fn has_gone(&self, connections: u32) -> bool {
        let most = self.most.get().max(connections);
        self.most.set(most);
        if most < WORTH_LOOKING || connections > most / 2 {
            self.calm.set(0);
            return false;
        }
        self.calm.set(self.calm.get() + 1);
        let has_gone = self.calm.get() >= CALM_SWEEPS;
        if has_gone {
            self.most.set(connections);
            self.calm.set(0);
        }
        has_gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sweeps(crowd: &Crowd, connections: &[u32]) -> Vec<bool> {
        let swept = connections.iter().map(|&now| crowd.has_gone(now));
        swept.collect()
    }

    #[test]
    fn a_crowd_that_has_gone_for_a_while_is_noticed_once() {
        let crowd = Crowd::default();
        let seen = sweeps(&crowd, &[9_000, 100, 0, 0, 0, 0, 0, 0]);
        assert_eq!(seen.iter().filter(|gone| **gone).count(), 1);
        assert!(seen[5]);
    }

    #[test]
    fn a_crowd_that_comes_back_and_a_small_one_are_left_alone() {
        let crowd = Crowd::default();
        let seen = sweeps(&crowd, &[9_000, 0, 0, 0, 0, 8_000, 0, 0, 0, 0]);
        assert_eq!(seen, [false; 10]);
        assert_eq!(
            sweeps(&Crowd::default(), &[900, 0, 0, 0, 0, 0, 0]),
            [false; 7]
        );
    }
}
