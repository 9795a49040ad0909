//! Addresses: bound before a table needs them, released once no table does.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use model::ServiceName;
use traffic::ListenerKind;

use super::Shell;

/// Services' own addresses are taken from here: below the ephemeral range and the instances'.
const OWN_FIRST: u16 = 10_000;
const OWN_COUNT: u16 = 9_000;

/// How many are tried before giving up.
const OWN_TRIES: u16 = 500;

impl Shell {
    /// Listens on an address, unless it is listened on.
    pub(super) fn listen(&mut self, address: SocketAddr, kind: ListenerKind) -> Result<(), String> {
        if self.listening.contains(&address) {
            return Ok(());
        }
        let sockets = self.host.bind(address)?;
        self.publisher.bind(address, kind, sockets);
        self.listening.insert(address);
        Ok(())
    }

    /// Listens on an address that a file names, unless its port is a service's own already.
    pub(super) fn listen_as_told(
        &mut self,
        address: SocketAddr,
        kind: ListenerKind,
    ) -> Result<(), String> {
        let known = self
            .store
            .internal_addresses()
            .map_err(|error| error.chain())?;
        let mut own = known.iter();
        match own.find(|(_, own)| own.port() == address.port() && meet(own.ip(), address.ip())) {
            Some((service, _)) => Err(format!(
                "port {} is the one at which other services reach `{service}`",
                address.port()
            )),
            None => self.listen(address, kind),
        }
    }

    /// Stops listening wherever no table needs it and no deploy is being taken in.
    pub(super) fn release_unused(&mut self) {
        let needed: BTreeSet<SocketAddr> = self
            .table
            .listeners
            .iter()
            .map(|listener| listener.address)
            .collect();
        let unused: Vec<SocketAddr> = self.listening.difference(&needed).copied().collect();
        for address in unused {
            self.publisher.release(address);
            self.host.release(address);
            self.listening.remove(&address);
        }
    }

    /// The service's own address through the proxy; given once, and listened on.
    pub(super) fn own_address(
        &mut self,
        service: &ServiceName,
        kind: ListenerKind,
    ) -> Result<SocketAddr, String> {
        let known = self
            .store
            .internal_addresses()
            .map_err(|error| error.chain())?;
        if let Some(address) = known.get(service) {
            self.listen(*address, kind)?;
            return Ok(*address);
        }
        let mut hash = DefaultHasher::new();
        (&self.state, service.as_str()).hash(&mut hash);
        let first = u16::try_from(hash.finish() % u64::from(OWN_COUNT)).expect("below 9000");
        let listening = self.listening.iter();
        let taken = listening.copied().chain(known.into_values());
        let taken: BTreeSet<u16> = taken.map(|address| address.port()).collect();
        for step in 0..OWN_TRIES {
            let port = OWN_FIRST + (first + step) % OWN_COUNT;
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            if taken.contains(&port) || self.listen(address, kind).is_err() {
                continue;
            }
            let kept = self.store.put_internal_address(service, address);
            return kept.map(|()| address).map_err(|error| error.chain());
        }
        Err(format!(
            "no port from {OWN_FIRST} on is free for `{service}`"
        ))
    }
}

/// True if a connection to the same port could be for either.
fn meet(one: IpAddr, other: IpAddr) -> bool {
    one == other || one.is_unspecified() || other.is_unspecified()
}
