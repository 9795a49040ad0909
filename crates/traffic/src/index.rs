//! Finds a request's route without allocating, whatever the number of routes.
//!
//! Of all routes that match, the one with the most specific host is taken (exact, then the
//! longest domain it lies below, then any), and among those the one with the longest path.
//! Paths are compared by whole segments, with `%41` and `A` being the same.

use std::net::SocketAddr;

use model::ReleaseId;

use crate::hash::Growing;
use crate::path;
use crate::table::{HostPattern, Listener, Table};

/// An index over a table's routes, built once per table.
#[derive(Debug, Clone, Default)]
pub struct Index {
    /// In the order of their addresses.
    listeners: Vec<(SocketAddr, Routes)>,
}

/// Where a route leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteMatch {
    /// The index in [`Table::services`].
    pub service: usize,
    /// The only release that the route leads to, if it is a preview.
    pub only: Option<ReleaseId>,
}

impl Index {
    /// Indexes a table. Of two routes with the same host and path the first is kept.
    ///
    /// # Panics
    ///
    /// When a route leads to a service that the table does not have.
    #[must_use]
    pub fn new(table: &Table) -> Self {
        let routes = |listener: &Listener| {
            (
                listener.address,
                Routes::new(listener, table.services.len()),
            )
        };
        let mut listeners: Vec<_> = table.listeners.iter().map(routes).collect();
        listeners.sort_by_key(|(address, _)| *address);
        Self { listeners }
    }

    /// The route of a request that arrived at `listener` for `host` (without port, empty if
    /// none was named) and `path`.
    #[must_use]
    pub fn route(&self, listener: SocketAddr, host: &[u8], path: &[u8]) -> Option<RouteMatch> {
        let found = self
            .listeners
            .binary_search_by_key(&listener, |(address, _)| *address);
        self.listeners[found.ok()?].1.find(host, path)
    }
}

/// The routes of one listener. Those with the same host pattern are a group.
#[derive(Debug, Clone, Default)]
struct Routes {
    hosts: Places,
    groups: Vec<Group>,
    any: Option<u32>,
    below_labels_max: u32,
    paths: Places,
    routes: Vec<Indexed>,
}

#[derive(Debug, Clone)]
struct Group {
    host: HostPattern,
    segments_max: u32,
}

#[derive(Debug, Clone)]
struct Indexed {
    group: u32,
    /// Normalised and without a slash at its end.
    path: Box<[u8]>,
    found: RouteMatch,
}

const EXACT: u32 = 1;
const BELOW: u32 = 2;

impl Routes {
    fn new(listener: &Listener, services: usize) -> Self {
        let mut routes = Self {
            hosts: Places::for_entries(listener.routes.len()),
            paths: Places::for_entries(listener.routes.len()),
            ..Self::default()
        };
        let mut last: Option<(&HostPattern, u32)> = None;
        for route in &listener.routes {
            assert!(
                route.service < services,
                "a route leads to a service of its table"
            );
            // Routes of one host mostly follow each other.
            let group = match last.filter(|(host, _)| **host == route.host) {
                Some((_, group)) => group,
                None => routes.group(&route.host),
            };
            last = Some((&route.host, group));
            let found = RouteMatch {
                service: route.service,
                only: route.only,
            };
            routes.add(group, route.path.as_bytes(), found);
        }
        routes
    }

    /// The group of a host pattern, made if it is new.
    fn group(&mut self, host: &HostPattern) -> u32 {
        let new = self.groups.len() as u32;
        let group = match host {
            HostPattern::Any => *self.any.get_or_insert(new),
            HostPattern::Exact(name) => {
                self.hosts
                    .insert(host_hash(EXACT, name.as_bytes()), new, |group| {
                        self.groups[group as usize].host == *host
                    })
            }
            HostPattern::Below(domain) => {
                let labels = domain.bytes().filter(|&byte| byte == b'.').count() as u32 + 1;
                self.below_labels_max = self.below_labels_max.max(labels);
                self.hosts
                    .insert(host_hash(BELOW, domain.as_bytes()), new, |group| {
                        self.groups[group as usize].host == *host
                    })
            }
        };
        if group == new {
            self.groups.push(Group {
                host: host.clone(),
                segments_max: 0,
            });
        }
        group
    }

    fn add(&mut self, group: u32, path: &[u8], found: RouteMatch) {
        let path = path::normal(path);
        let segments = path.iter().filter(|&&byte| byte == b'/').count() as u32;
        let mut hash = Growing::new(group);
        path.iter().for_each(|&byte| hash.push(byte));
        let new = self.routes.len() as u32;
        let same = |at: u32| {
            let route = &self.routes[at as usize];
            route.group == group && *route.path == *path
        };
        if self.paths.insert(hash.value(), new, same) == new {
            self.routes.push(Indexed {
                group,
                path: path.into(),
                found,
            });
            let most = &mut self.groups[group as usize].segments_max;
            *most = (*most).max(segments);
        }
    }

    fn find(&self, host: &[u8], path: &[u8]) -> Option<RouteMatch> {
        let host = host.strip_suffix(b".").unwrap_or(host);
        self.find_exact(host, path)
            .or_else(|| self.find_below(host, path))
            .or_else(|| self.find_path(self.any?, path))
    }

    fn find_exact(&self, host: &[u8], path: &[u8]) -> Option<RouteMatch> {
        let group = self.hosts.find(host_hash(EXACT, host), |group| {
            matches!(&self.groups[group as usize].host, HostPattern::Exact(name) if name.as_bytes().eq_ignore_ascii_case(host))
        })?;
        self.find_path(group, path)
    }

    fn find_below(&self, host: &[u8], path: &[u8]) -> Option<RouteMatch> {
        if self.below_labels_max == 0 {
            return None;
        }
        let domain = Domain {
            begin: host.len(),
            labels: 0,
            hash: Growing::new(BELOW),
        };
        self.find_longer(host, domain, path)
    }

    /// Looks at the domains of `host` that are longer than `domain`, the longest first.
    fn find_longer(&self, host: &[u8], mut domain: Domain, path: &[u8]) -> Option<RouteMatch> {
        if domain.labels > 0 {
            domain.push(host);
        }
        while domain.begin > 0 && host[domain.begin - 1] != b'.' {
            domain.push(host);
        }
        domain.labels += 1;
        if domain.begin == 0 || domain.labels > self.below_labels_max {
            return None;
        }
        self.find_longer(host, domain, path).or_else(|| {
            let name = &host[domain.begin..];
            let group = self.hosts.find(domain.hash.value(), |group| {
                matches!(&self.groups[group as usize].host, HostPattern::Below(below) if below.as_bytes().eq_ignore_ascii_case(name))
            })?;
            self.find_path(group, path)
        })
    }

    /// The longest path of a group that `path` lies in.
    fn find_path(&self, group: u32, path: &[u8]) -> Option<RouteMatch> {
        let mut left = self.groups[group as usize].segments_max;
        let mut prefix = Prefix {
            group,
            bytes: 0,
            hash: Growing::new(group),
        };
        let mut bytes = path::bytes(path);
        let mut found = self.route_at(prefix, path);
        let mut next = bytes.next();
        while left > 0 && next == Some(path::SEPARATOR) {
            prefix.push(b'/');
            next = bytes.next();
            while let Some(byte) = next.filter(|&byte| byte != path::SEPARATOR) {
                prefix.push(byte.value());
                next = bytes.next();
            }
            left -= 1;
            found = self.route_at(prefix, path).or(found);
        }
        found
    }

    /// The route of a group whose path is exactly this prefix of `path`.
    fn route_at(&self, prefix: Prefix, path: &[u8]) -> Option<RouteMatch> {
        let at = self.paths.find(prefix.hash.value(), |at| {
            let route = &self.routes[at as usize];
            route.group == prefix.group
                && route.path.len() == prefix.bytes
                && path::begins_with(path, &route.path)
        })?;
        Some(self.routes[at as usize].found)
    }
}

/// The first bytes of a normalised path, asked for in a group.
#[derive(Clone, Copy)]
struct Prefix {
    group: u32,
    bytes: usize,
    hash: Growing,
}

impl Prefix {
    fn push(&mut self, byte: u8) {
        self.bytes += 1;
        self.hash.push(byte);
    }
}

/// A domain at the end of a host name, hashed from its end.
#[derive(Clone, Copy)]
struct Domain {
    begin: usize,
    labels: u32,
    hash: Growing,
}

impl Domain {
    fn push(&mut self, host: &[u8]) {
        self.begin -= 1;
        self.hash.push(host[self.begin].to_ascii_lowercase());
    }
}

fn host_hash(kind: u32, name: &[u8]) -> u64 {
    let mut hash = Growing::new(kind);
    name.iter()
        .rev()
        .for_each(|byte| hash.push(byte.to_ascii_lowercase()));
    hash.value()
}

/// Numbers found by hash: a table of twice as many places as numbers, searched onwards.
///
/// A place has the upper half of its number's hash, and the number from one on, so that none is
/// a zero: small for the cache, and made without being written to.
#[derive(Debug, Clone, Default)]
struct Places(Vec<u64>);

const UPPER: u64 = 0xffff_ffff_0000_0000;

impl Places {
    fn for_entries(entries: usize) -> Self {
        Self(vec![0; (entries * 2).next_power_of_two().max(2)])
    }

    fn find(&self, hash: u64, is: impl Fn(u32) -> bool) -> Option<u32> {
        let mask = self.0.len().checked_sub(1)?;
        let mut at = hash as usize & mask;
        while self.0[at] != 0 {
            let number = (self.0[at] & !UPPER) as u32 - 1;
            if (self.0[at] ^ hash) & UPPER == 0 && is(number) {
                return Some(number);
            }
            at = (at + 1) & mask;
        }
        None
    }

    /// The number that is already there, or `new` after putting it there.
    fn insert(&mut self, hash: u64, new: u32, is: impl Fn(u32) -> bool) -> u32 {
        if let Some(there) = self.find(hash, is) {
            return there;
        }
        let mask = self.0.len() - 1;
        let mut at = hash as usize & mask;
        while self.0[at] != 0 {
            at = (at + 1) & mask;
        }
        self.0[at] = hash & UPPER | (u64::from(new) + 1);
        new
    }
}

#[cfg(test)]
mod tests;
