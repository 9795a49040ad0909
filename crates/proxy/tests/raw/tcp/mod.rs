//! TCP services: each connection is one request, and its bytes mean nothing to the proxy.

mod admission;
mod carried;
mod ended;

use std::time::Duration;

use traffic::{ListenerKind, Outcome};

use crate::world::{Client, Program, World};

/// How a connection that both ends have ended is counted.
const WHOLE: [(Outcome, u64); 2] = [(Outcome::TunnelOpened, 1), (Outcome::TunnelClosed, 1)];

impl World {
    /// A proxy whose one service is a TCP service with these endpoints.
    pub(crate) fn carrying(programs: &[&Program]) -> Self {
        let mut world = Self::serving(programs);
        world.carry();
        world
    }

    /// Makes the listener one of a TCP service.
    fn carry(&mut self) {
        self.kind = ListenerKind::Tcp;
        self.publish(|table| table.listeners[0].kind = ListenerKind::Tcp);
    }
}

/// A program that says back what it is told until there is no more.
fn echo() -> Program {
    Program::new(|connection| {
        loop {
            let bytes = connection.some()?;
            connection.send(bytes)?;
        }
    })
}

/// Bytes that are nowhere the same for long.
fn noise(count: usize, mut seed: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        bytes.extend_from_slice(&(seed >> 8).to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

/// Says something and gets it back.
fn is_echoed(client: &mut Client, text: &str) -> bool {
    client.send(text);
    client.read_exactly(text.len()) == text.as_bytes()
}

/// True if nothing comes, neither bytes nor an end, within a moment.
fn is_open(client: &mut Client) -> bool {
    client.is_silent_for(Duration::from_millis(150))
}
