//! Who listens on a TCP port.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::child::Children;
use crate::group;
use crate::identity::ServerId;
use crate::proc::{self, Table};
use crate::protocol::PortOwner;
use crate::spec::Key;

/// The state of a listening socket in `/proc/net/tcp`.
const LISTENING: &str = "0A";

/// More listening sockets than this are not looked at.
const SOCKETS_MAX: usize = 16;
const TABLE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The sockets listening on `port` at addresses that `concerned` names, by inode.
fn listening(port: u16, concerned: &dyn Fn(IpAddr) -> bool) -> BTreeSet<u64> {
    let rows = rows().into_iter();
    let wanted = rows.filter(|(address, at, _)| *at == port && concerned(*address));
    wanted.map(|(_, _, inode)| inode).collect()
}

/// Address, port and inode of every listening socket.
fn rows() -> Vec<(IpAddr, u16, u64)> {
    let mut found = Vec::new();
    for path in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        let Ok(file) = File::open(path) else { continue };
        // The kernel prints listening sockets first: no need to read the rest.
        let lines = BufReader::new(file.take(TABLE_BYTES_MAX))
            .lines()
            .map_while(Result::ok)
            .skip(1);
        found.extend(lines.map_while(|line| listening_row(&line)));
    }
    found
}

/// Address, port and inode of a row; `None` if it is not a listening one.
fn listening_row(line: &str) -> Option<(IpAddr, u16, u64)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    if *fields.get(3)? != LISTENING {
        return None;
    }
    let (address, port) = fields.get(1)?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some((parse_address(address)?, port, fields.get(9)?.parse().ok()?))
}

/// Reads an address as the kernel prints it: words in the machine's byte order.
fn parse_address(text: &str) -> Option<IpAddr> {
    if !text.len().is_multiple_of(8) {
        return None;
    }
    let words: Option<Vec<[u8; 4]>> = text
        .as_bytes()
        .chunks(8)
        .map(|word| {
            Some(
                u32::from_str_radix(std::str::from_utf8(word).ok()?, 16)
                    .ok()?
                    .to_ne_bytes(),
            )
        })
        .collect();
    let bytes = words?.concat();
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes.as_slice()) {
        return Some(IpAddr::from(bytes));
    }
    Some(IpAddr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?).to_canonical())
}

/// Whether a socket listening at `at` gets connections to `to`.
///
/// One at the IPv6 any-address may take IPv4 as well; the kernel does not tell.
fn reaches(at: IpAddr, to: IpAddr) -> bool {
    at == to || (at.is_unspecified() && (at.is_ipv6() || to.is_ipv4()))
}

/// Who would answer a connection to `port` on the IPv4 loopback address.
pub(crate) fn owners(port: u16, children: &Children, server: ServerId) -> Vec<PortOwner> {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    holders(
        listening(port, &|at| reaches(at, loopback)),
        children,
        server,
    )
}

/// Who listens where `address` would.
pub(crate) fn rivals(address: SocketAddr, children: &Children, server: ServerId) -> Vec<PortOwner> {
    let own = address.ip();
    let sockets = listening(address.port(), &|at| reaches(at, own) || reaches(own, at));
    holders(sockets, children, server)
}

/// Where a child, or what it started, listens.
pub(crate) fn listening_of(key: &Key, children: &Children, server: ServerId) -> Vec<SocketAddr> {
    let rows: BTreeMap<u64, SocketAddr> = rows()
        .into_iter()
        .map(|(address, port, inode)| (inode, SocketAddr::new(address, port)))
        .collect();
    let inodes: BTreeSet<u64> = rows.keys().copied().collect();
    let table = Table::read();
    let mut addresses = BTreeSet::new();
    for pid in table.descendants(&BTreeSet::from([server.pid])) {
        let process = table.processes.get(&pid);
        let owner = process.and_then(|process| group::key_of(process, children, server, &table));
        if owner.as_ref() == Some(key) {
            let held = proc::sockets_held(pid, &inodes);
            addresses.extend(held.iter().filter_map(|inode| rows.get(inode)).copied());
        }
    }
    addresses.into_iter().take(SOCKETS_MAX).collect()
}

/// How many sockets listen at exactly this address.
pub(crate) fn listening_at(address: SocketAddr) -> u32 {
    let there = listening(address.port(), &|at| at == address.ip().to_canonical());
    u32::try_from(there.len()).unwrap_or(u32::MAX)
}

/// Who holds these sockets.
fn holders(sockets: BTreeSet<u64>, children: &Children, server: ServerId) -> Vec<PortOwner> {
    let mut open: BTreeSet<u64> = sockets.into_iter().take(SOCKETS_MAX).collect();
    if open.is_empty() {
        return Vec::new();
    }
    let table = Table::read();
    let below = table.descendants(&BTreeSet::from([server.pid]));
    let strangers = table.processes.keys().filter(|pid| !below.contains(*pid));
    let mut owners = Vec::new();
    // Ours first: a socket handed to a helper process is still the child's.
    for pid in below.iter().chain(strangers) {
        if open.is_empty() {
            return owners;
        }
        let held = proc::sockets_held(*pid, &open);
        if let (false, Some(process)) = (held.is_empty(), table.processes.get(pid)) {
            let key = group::key_of(process, children, server, &table);
            owners.push(PortOwner {
                pid: Some(*pid),
                name: process.name.clone(),
                key,
            });
        }
        for inode in held {
            open.remove(&inode);
        }
    }
    owners.extend(open.iter().map(|_| PortOwner {
        pid: None,
        name: String::new(),
        key: None,
    }));
    owners
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_row_is_read_only_while_listening() {
        let row = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 0 4242 1";
        let loopback = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(listening_row(row), Some((loopback, 8080, 4242)));
        assert_eq!(listening_row(&row.replace(" 0A ", " 01 ")), None);
        for broken in ["", "0: 1:1 2:2 0A", &row.replace("0100007F", "x")] {
            assert_eq!(listening_row(broken), None, "{broken}");
        }
    }

    #[test]
    fn addresses_are_read_as_the_kernel_prints_them() {
        let cases = [
            ("0100007F", "127.0.0.1"),
            ("00000000", "0.0.0.0"),
            ("00000000000000000000000001000000", "::1"),
            ("0000000000000000FFFF00000100007F", "127.0.0.1"),
            ("00000000000000000000000000000000", "::"),
        ];
        for (text, address) in cases {
            assert_eq!(
                parse_address(text),
                Some(address.parse().unwrap()),
                "{text}"
            );
        }
        for text in ["", "0100007", "0100007F00", "xxxxxxxx"] {
            assert_eq!(parse_address(text), None, "{text}");
        }
    }

    #[test]
    fn any_addresses_reach_what_they_cover() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(reaches(ip("0.0.0.0"), ip("127.0.0.1")) && reaches(ip("::"), ip("127.0.0.1")));
        assert!(reaches(ip("10.0.0.1"), ip("10.0.0.1")) && reaches(ip("::"), ip("::1")));
        assert!(!reaches(ip("10.0.0.1"), ip("127.0.0.1")) && !reaches(ip("0.0.0.0"), ip("::1")));
    }

    #[test]
    fn a_stranger_is_named_and_has_no_key() {
        let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = stranger.local_addr().unwrap().port();
        let server = ServerId {
            device: 0,
            inode: 0,
            pid: 1,
            start_time: 0,
        };
        let owners = owners(port, &Children::new(), server);
        assert_eq!(owners.len(), 1);
        assert_eq!(
            (owners[0].pid, &owners[0].key),
            (Some(std::process::id()), &None)
        );
        assert!(!owners[0].name.is_empty());
    }

    #[test]
    fn a_free_port_has_no_owner() {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let server = ServerId {
            device: 0,
            inode: 0,
            pid: 1,
            start_time: 0,
        };
        assert_eq!(owners(port, &Children::new(), server), Vec::new());
    }
}
