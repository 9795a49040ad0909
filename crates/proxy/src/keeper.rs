//! Keeps what connections are secured with: read when a table names it, and again when its files
//! change. What cannot be read any more is used as it was.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::{CertificateFiles, ClientCertificates, ProgramTls};
use rustls::ServerConfig;
use tls::{Certificate, Certificates, Clients, Stamp, Tickets, Trust, Trusts};
use traffic::{Cell, HostPattern, ServiceTable, Table};

use crate::doors::{self, Door, Doors};
use crate::secure::PROTOCOLS;

/// How often the files are looked at.
pub(crate) const LOOK: Duration = Duration::from_secs(2);

/// What connections are secured with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tls {
    /// Those of clients.
    pub(crate) doors: Arc<Doors>,
    /// Those to the endpoints that speak over TLS.
    pub(crate) programs: Arc<BTreeMap<Cell, Arc<Trust>>>,
}

/// The files of the table in force.
#[derive(Debug)]
pub(crate) struct Keeper {
    tickets: Arc<Tickets>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// In the table's order.
    files: Vec<CertificateFiles>,
    loaded: BTreeMap<CertificateFiles, Loaded>,
    /// What clients must show where no service has a say of its own, and at each host if one has.
    demanded: Option<ClientCertificates>,
    hosts: BTreeMap<HostPattern, Option<ClientCertificates>>,
    /// The last of each demand that could be read.
    clients: BTreeMap<ClientCertificates, Option<Clients>>,
    /// What each endpoint that speaks over TLS must prove.
    wanted: Vec<(Cell, ProgramTls)>,
    trusts: Trusts,
    tls: Tls,
}

#[derive(Debug)]
struct Loaded {
    stamp: Stamp,
    /// The last one that could be read.
    certificate: Option<Certificate>,
}

impl Keeper {
    pub(crate) fn new(tickets: Tickets) -> Self {
        Self {
            tickets: Arc::new(tickets),
            kept: Mutex::default(),
        }
    }

    /// Follows a table. Returns what connections are secured with from now on.
    pub(crate) fn follow(&self, table: &Table) -> Tls {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let files = &table.certificates;
        let mut differs = kept.files != *files;
        if differs {
            kept.files.clone_from(files);
            kept.loaded.retain(|own, _| files.contains(own));
        }
        let hosts = doors::demands(table);
        if kept.demanded != table.clients || kept.hosts != hosts {
            differs = true;
            kept.demand(table.clients.clone(), hosts);
        }
        if kept.load_changed() || differs {
            kept.tls.doors = Arc::new(kept.doors(&self.tickets));
        }
        kept.wanted = wanted(table);
        kept.trust_changed();
        kept.tls.clone()
    }

    /// Looks whether files have changed. `Some`: connections are secured with this instead.
    pub(crate) fn look(&self) -> Option<Tls> {
        if let Err(error) = self.tickets.renew() {
            tracing::warn!(%error, "the keys of session tickets cannot be renewed");
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let is_trust_changed = kept.trust_changed();
        if kept.load_changed() {
            kept.tls.doors = Arc::new(kept.doors(&self.tickets));
        } else if !is_trust_changed {
            return None;
        }
        Some(kept.tls.clone())
    }
}

fn trust(trusts: &mut Trusts, wanted: &ProgramTls) -> Option<Arc<Trust>> {
    match trusts.read(wanted) {
        Ok(trust) => Some(trust),
        Err(error) => {
            let error: &dyn std::error::Error = &error;
            tracing::error!(error, "what a program must prove cannot be read");
            None
        }
    }
}

fn wanted(table: &Table) -> Vec<(Cell, ProgramTls)> {
    let sides = table.services.iter().flat_map(ServiceTable::sides);
    let secured = sides.filter_map(|side| Some((side, side.tls.as_ref()?)));
    let wanted = secured.flat_map(|(side, tls)| {
        let cells = side.endpoints.iter().map(|endpoint| endpoint.cell);
        cells.map(|cell| (cell, tls.clone()))
    });
    wanted.collect()
}

impl Kept {
    /// Reads what programs must prove, as far as that has changed. True if it has.
    fn trust_changed(&mut self) -> bool {
        // Of many endpoints few must prove something of their own.
        let mut read: BTreeMap<&ProgramTls, Option<Arc<Trust>>> = BTreeMap::new();
        let mut programs = BTreeMap::new();
        for (cell, wanted) in &self.wanted {
            let trusts = &mut self.trusts;
            let trust = read.entry(wanted).or_insert_with(|| trust(trusts, wanted));
            programs.extend(trust.clone().map(|trust| (*cell, trust)));
        }
        let before = &self.tls.programs;
        let is_kept = |(cell, trust): (&Cell, &Arc<Trust>)| {
            let now = programs.get(cell);
            now.is_some_and(|now| Arc::ptr_eq(now, trust))
        };
        let changed = before.len() != programs.len() || !before.iter().all(is_kept);
        if changed {
            self.tls.programs = Arc::new(programs);
        }
        changed
    }

    /// Reads what has changed since it was read last. True if there was anything.
    fn load_changed(&mut self) -> bool {
        let mut changed = self.load_clients();
        for files in &self.files {
            let stamp = Stamp::of(files);
            if self.loaded.get(files).is_some_and(|own| own.stamp == stamp) {
                continue;
            }
            let before = self.loaded.remove(files).and_then(|own| own.certificate);
            let certificate = match tls::load(files) {
                Ok(certificate) => {
                    changed = true;
                    Some(certificate)
                }
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    let is_served = before.is_some();
                    tracing::error!(error, is_served, "a certificate cannot be read");
                    before
                }
            };
            let loaded = Loaded { stamp, certificate };
            self.loaded.insert(files.clone(), loaded);
        }
        changed
    }

    /// Takes over what clients must show from now on.
    fn demand(
        &mut self,
        standard: Option<ClientCertificates>,
        hosts: BTreeMap<HostPattern, Option<ClientCertificates>>,
    ) {
        let all = standard.iter().chain(hosts.values().flatten());
        let mut clients = BTreeMap::new();
        for demand in all {
            let read = self.clients.remove(demand).flatten();
            clients.entry(demand.clone()).or_insert(read);
        }
        self.clients = clients;
        (self.demanded, self.hosts) = (standard, hosts);
    }

    /// Reads what clients must show, as far as that has changed. True if it has.
    fn load_clients(&mut self) -> bool {
        let mut changed = false;
        for (demand, clients) in &mut self.clients {
            if clients.as_ref().is_some_and(|own| !own.is_stale(demand)) {
                continue;
            }
            match Clients::load(demand) {
                Ok(read) => {
                    *clients = Some(read);
                    changed = true;
                }
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(error, "what clients must show cannot be read");
                    *clients = clients.take().map(|kept| kept.kept(demand));
                }
            }
        }
        changed
    }

    /// A door for each host, with one configuration for each demand.
    fn doors(&self, tickets: &Arc<Tickets>) -> Doors {
        let mut made: BTreeMap<Option<&ClientCertificates>, Door> = BTreeMap::new();
        let mut door = |demand| {
            let door = made.entry(demand).or_insert_with(|| Door {
                demand: demand.cloned().map(Arc::new),
                config: self.config(demand, tickets),
            });
            door.clone()
        };
        let standard = self.demanded.as_ref();
        let hosts = self.hosts.iter();
        Doors {
            standard: door(standard),
            hosts: hosts
                .map(|(host, own)| (host.clone(), door(own.as_ref().or(standard))))
                .collect(),
        }
    }

    fn config(
        &self,
        demand: Option<&ClientCertificates>,
        tickets: &Arc<Tickets>,
    ) -> Option<Arc<ServerConfig>> {
        let clients = match demand {
            None => None,
            // Nobody is served without being asked who it is.
            Some(demand) => Some(self.clients.get(demand)?.as_ref()?),
        };
        let loaded = self.files.iter().filter_map(|files| self.loaded.get(files));
        let certificates: Vec<Certificate> = loaded
            .filter_map(|loaded| loaded.certificate.clone())
            .collect();
        if certificates.is_empty() {
            return None;
        }
        match tls::server(
            Arc::new(Certificates::new(certificates)),
            tickets,
            PROTOCOLS,
            clients,
        ) {
            Ok(config) => Some(Arc::new(config)),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "connections cannot be secured");
                self.tls.doors.of(demand)
            }
        }
    }
}
