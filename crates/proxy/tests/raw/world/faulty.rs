//! A relay between two ends that does to them what networks and dying machines do.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::GUARD;

/// What is done to one direction of a connection, after so many bytes of it went through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// Each byte comes by itself.
    Dripping,
    /// Both ends see a reset.
    Reset(u64),
    /// Both ends see an end.
    Ended(u64),
    /// The target sees an end of this direction, and the other one goes on.
    HalfClosed(u64),
    /// Nothing more comes, and nobody is told.
    Stalled(u64),
}

impl Fault {
    /// One that a number says, none for most, within the first `bytes` bytes.
    pub(crate) fn drawn(number: u64, bytes: u64) -> Self {
        let after = (number >> 8) % bytes;
        match number % 16 {
            0 => Self::Reset(after),
            1 => Self::Ended(after),
            2 => Self::HalfClosed(after),
            3 => Self::Stalled(after),
            4 | 5 => Self::Dripping,
            _ => Self::None,
        }
    }

    /// How many bytes go through.
    fn limit(self) -> u64 {
        match self {
            Self::None | Self::Dripping => u64::MAX,
            Self::Reset(after)
            | Self::Ended(after)
            | Self::HalfClosed(after)
            | Self::Stalled(after) => after,
        }
    }
}

/// Both directions of a connection: from whoever connected, and back.
pub(crate) type Faults = (Fault, Fault);

/// The relay; it ends with the test.
pub(crate) struct Faulty {
    pub(crate) address: SocketAddr,
    struck: Arc<AtomicU64>,
}

impl Faulty {
    /// Relays to `target`; `faults` says what happens to each connection, by its number from 0.
    pub(crate) fn before(
        target: SocketAddr,
        faults: impl Fn(u64) -> Faults + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let struck = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&struck);
        std::thread::spawn(move || {
            for (number, near) in (0..).zip(listener.incoming().map_while(Result::ok)) {
                let Ok(far) = TcpStream::connect(target) else {
                    continue;
                };
                let (up, down) = faults(number);
                for (ends, fault) in [((&near, &far), up), ((&far, &near), down)] {
                    let way = Way {
                        from: ends.0.try_clone().unwrap(),
                        to: ends.1.try_clone().unwrap(),
                        struck: Arc::clone(&counter),
                    };
                    std::thread::spawn(move || way.carry(fault));
                }
            }
        });
        Self { address, struck }
    }

    /// How many directions met with more than delay.
    pub(crate) fn struck(&self) -> u64 {
        self.struck.load(Ordering::SeqCst)
    }
}

/// One direction.
struct Way {
    from: TcpStream,
    to: TcpStream,
    struck: Arc<AtomicU64>,
}

impl Way {
    fn carry(mut self, fault: Fault) -> Option<()> {
        for stream in [&self.from, &self.to] {
            stream.set_nodelay(true).ok()?;
            stream.set_read_timeout(Some(GUARD)).ok()?;
        }
        let mut left = fault.limit();
        let mut bytes = [0; 4_096];
        while left > 0 {
            let most = left.min(if fault == Fault::Dripping { 1 } else { 4_096 });
            let count = self.from.read(&mut bytes[..most as usize]).unwrap_or(0);
            if count == 0 || self.to.write_all(&bytes[..count]).is_err() {
                let _ = self.to.shutdown(Shutdown::Write);
                return None;
            }
            left -= count as u64;
        }
        self.strike(fault)
    }

    fn strike(mut self, fault: Fault) -> Option<()> {
        self.struck.fetch_add(1, Ordering::SeqCst);
        match fault {
            Fault::None | Fault::Dripping => {}
            Fault::Reset(_) => {
                for stream in [&self.from, &self.to] {
                    let now = Some(Duration::ZERO);
                    rustix::net::sockopt::set_socket_linger(stream, now).ok()?;
                }
                self.end();
            }
            Fault::Ended(_) => self.end(),
            Fault::HalfClosed(_) => {
                let _ = self.to.shutdown(Shutdown::Write);
                self.swallow();
            }
            Fault::Stalled(_) => self.swallow(),
        }
        None
    }

    /// Ends both directions at both ends. The other direction's thread holds the sockets too.
    fn end(&self) {
        for stream in [&self.from, &self.to] {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn swallow(&mut self) {
        let mut bytes = [0; 4_096];
        while self.from.read(&mut bytes).is_ok_and(|count| count > 0) {}
        let _ = self.to.shutdown(Shutdown::Write);
    }
}
