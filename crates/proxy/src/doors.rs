//! What clients' connections are secured with, by the host that they ask for.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::ClientCertificates;
use rustls::ServerConfig;
use traffic::{HostPattern, ListenerKind, Table};

/// What the connections that ask for a host are secured with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Door {
    /// What their clients must show.
    pub(crate) demand: Option<Arc<ClientCertificates>>,
    /// `None`: what is needed was never read.
    pub(crate) config: Option<Arc<ServerConfig>>,
}

/// Every door.
#[derive(Debug, Default)]
pub(crate) struct Doors {
    /// Where no service has a say of its own.
    pub(crate) standard: Door,
    /// Hosts of the table, if any service has.
    pub(crate) hosts: BTreeMap<HostPattern, Door>,
}

impl Doors {
    /// True if anybody can be served.
    pub(crate) fn is_open(&self) -> bool {
        let mut doors = std::iter::once(&self.standard).chain(self.hosts.values());
        doors.any(|door| door.config.is_some())
    }

    /// What those are secured with whose clients must show this.
    pub(crate) fn of(&self, demand: Option<&ClientCertificates>) -> Option<Arc<ServerConfig>> {
        let mut doors = std::iter::once(&self.standard).chain(self.hosts.values());
        doors
            .find(|door| door.demand.as_deref() == demand)?
            .config
            .clone()
    }

    /// The door for a host in lower case: the most specific one, as requests for it find theirs.
    pub(crate) fn at(&self, host: Option<&str>) -> &Door {
        let named = host.filter(|_| !self.hosts.is_empty()).and_then(|host| {
            let exact = self.hosts.get(&HostPattern::Exact(host.to_owned()));
            exact.or_else(|| self.below(host))
        });
        let any = || self.hosts.get(&HostPattern::Any);
        named.or_else(any).unwrap_or(&self.standard)
    }

    fn below(&self, host: &str) -> Option<&Door> {
        let mut rest = host;
        while let Some((_, domain)) = rest.split_once('.') {
            let door = self.hosts.get(&HostPattern::Below(domain.to_owned()));
            if door.is_some() {
                return door;
            }
            rest = domain;
        }
        None
    }
}

/// What clients must show at each host, if any service has a say of its own.
pub(crate) fn demands(table: &Table) -> BTreeMap<HostPattern, Option<ClientCertificates>> {
    let mut hosts: BTreeMap<HostPattern, Option<ClientCertificates>> = BTreeMap::new();
    let https = |listener: &&traffic::Listener| listener.kind == ListenerKind::Https;
    for route in table
        .listeners
        .iter()
        .filter(https)
        .flat_map(|it| &it.routes)
    {
        let service = &table.services[route.service];
        let demand = hosts.entry(route.host.clone()).or_default();
        if demand.is_none() {
            demand.clone_from(&service.https.clients);
        }
    }
    if hosts.values().all(Option::is_none) {
        hosts.clear();
    }
    hosts
}

#[cfg(test)]
mod tests {
    use model::Demand;

    use super::*;

    fn door(ca: &str) -> Door {
        Door {
            demand: Some(Arc::new(ClientCertificates {
                ca: ca.to_owned(),
                demand: Demand::Required,
            })),
            config: None,
        }
    }

    #[test]
    fn the_most_specific_host_has_its_door_and_the_rest_the_standard_one() {
        let hosts = [
            (HostPattern::Exact("a.b.test".to_owned()), door("exact")),
            (HostPattern::Below("b.test".to_owned()), door("below")),
            (HostPattern::Below("c.b.test".to_owned()), door("deeper")),
        ];
        let mut doors = Doors {
            standard: Door::default(),
            hosts: BTreeMap::from(hosts),
        };
        let at = |doors: &Doors, host: Option<&str>| {
            let demand = doors.at(host).demand.as_ref();
            demand.map(|demand| demand.ca.clone())
        };
        for (host, ca) in [
            ("a.b.test", Some("exact")),
            ("z.a.b.test", Some("below")),
            ("x.c.b.test", Some("deeper")),
            ("c.b.test", Some("below")),
            ("b.test", None),
            ("other.test", None),
        ] {
            assert_eq!(at(&doors, Some(host)).as_deref(), ca, "{host}");
        }
        assert_eq!(at(&doors, None), None);
        doors.hosts.insert(HostPattern::Any, door("any"));
        assert_eq!(at(&doors, None).as_deref(), Some("any"));
        assert_eq!(at(&doors, Some("other.test")).as_deref(), Some("any"));
    }
}
