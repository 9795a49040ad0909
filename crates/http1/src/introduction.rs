//! The PROXY protocol, versions 1 and 2: how a proxy says at the beginning of a connection whose
//! it is. Read from peers that are trusted, written for programs that ask for it.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::ascii;

/// The longest introduction of version 1, as its authors count.
const V1_BYTES_MAX: usize = 107;
/// What version 2 may carry beside its first 16 bytes: addresses, and extensions that are
/// passed over.
const V2_MORE_BYTES_MAX: usize = 4_096;
/// The longest introduction that is read.
pub const INTRODUCTION_BYTES_MAX: usize = V2_HEAD_BYTES + V2_MORE_BYTES_MAX;

const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_HEAD_BYTES: usize = 16;

/// Which version of the PROXY protocol is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntroductionVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// What an introduction says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Introduction {
    /// The connection is the peer's own (a probe of its), or the peer does not know whose.
    Own,
    /// It carries the connection of the client at this address.
    For(SocketAddr),
}

/// How far the bytes of an introduction have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Introduced {
    /// All that is there belongs to it, and more must come.
    Partly,
    /// It takes so many bytes.
    Whole(usize, Introduction),
}

/// The bytes are no introduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection does not begin with a PROXY protocol header that is understood")]
pub struct NotIntroduced;

/// Reads an introduction from the beginning of `input`.
///
/// # Errors
///
/// [`NotIntroduced`] as soon as it cannot become one, or grows beyond its bounds.
pub fn read_introduction(input: &[u8]) -> Result<Introduced, NotIntroduced> {
    let begins = |known: &[u8]| input.iter().zip(known).all(|(a, b)| a == b);
    if begins(V2_SIGNATURE) {
        read_v2(input)
    } else if begins(b"PROXY ") {
        read_v1(input)
    } else {
        Err(NotIntroduced)
    }
}

fn read_v1(input: &[u8]) -> Result<Introduced, NotIntroduced> {
    let seen = &input[..input.len().min(V1_BYTES_MAX)];
    let Some(end) = memchr::memchr(b'\n', seen) else {
        return if input.len() < V1_BYTES_MAX {
            Ok(Introduced::Partly)
        } else {
            Err(NotIntroduced)
        };
    };
    let line = seen[..end].strip_suffix(b"\r").ok_or(NotIntroduced)?;
    let text = std::str::from_utf8(line).map_err(|_| NotIntroduced)?;
    let words = text.strip_prefix("PROXY ").ok_or(NotIntroduced)?;
    if words == "UNKNOWN" || words.starts_with("UNKNOWN ") {
        return Ok(Introduced::Whole(end + 1, Introduction::Own));
    }
    let mut words = words.split(' ');
    let mut word = || words.next().ok_or(NotIntroduced);
    let family = word()?;
    let (source, target) = (ip(family, word()?)?, ip(family, word()?)?);
    let (source_port, _) = (port(word()?)?, port(word()?)?);
    if words.next().is_some() || source.is_ipv4() != target.is_ipv4() {
        return Err(NotIntroduced);
    }
    let client = SocketAddr::new(source, source_port);
    Ok(Introduced::Whole(end + 1, Introduction::For(client)))
}

fn ip(family: &str, text: &str) -> Result<IpAddr, NotIntroduced> {
    let address = match family {
        "TCP4" => text.parse().map(IpAddr::V4),
        "TCP6" => text.parse().map(IpAddr::V6),
        _ => return Err(NotIntroduced),
    };
    address.map_err(|_| NotIntroduced)
}

fn port(text: &str) -> Result<u16, NotIntroduced> {
    let number = ascii::decimal(text.as_bytes()).ok_or(NotIntroduced)?;
    u16::try_from(number).map_err(|_| NotIntroduced)
}

fn read_v2(input: &[u8]) -> Result<Introduced, NotIntroduced> {
    let Some((head, more)) = input.split_at_checked(V2_HEAD_BYTES) else {
        // What is there may already show that it is none.
        return match input.get(V2_SIGNATURE.len()) {
            Some(command) if command >> 4 != 2 => Err(NotIntroduced),
            _ => Ok(Introduced::Partly),
        };
    };
    let bytes = usize::from(u16::from_be_bytes([head[14], head[15]]));
    if head[12] >> 4 != 2 || bytes > V2_MORE_BYTES_MAX {
        return Err(NotIntroduced);
    }
    let Some(more) = more.get(..bytes) else {
        return Ok(Introduced::Partly);
    };
    let introduction = match (head[12] & 0xf, head[13]) {
        (0, _) | (1, 0x00) => Introduction::Own,
        (1, 0x11) => Introduction::For(v4_source(more)?),
        (1, 0x21) => Introduction::For(v6_source(more)?),
        _ => return Err(NotIntroduced),
    };
    Ok(Introduced::Whole(V2_HEAD_BYTES + bytes, introduction))
}

/// Source of: two addresses, then two ports.
fn v4_source(more: &[u8]) -> Result<SocketAddr, NotIntroduced> {
    let addresses = more.first_chunk::<12>().ok_or(NotIntroduced)?;
    let [a, b, c, d, .., high, low, _, _] = *addresses;
    let source = Ipv4Addr::new(a, b, c, d);
    Ok((source, u16::from_be_bytes([high, low])).into())
}

fn v6_source(more: &[u8]) -> Result<SocketAddr, NotIntroduced> {
    let addresses = more.first_chunk::<36>().ok_or(NotIntroduced)?;
    let source = addresses.first_chunk::<16>().ok_or(NotIntroduced)?;
    let port = u16::from_be_bytes([addresses[32], addresses[33]]);
    Ok((Ipv6Addr::from(*source), port).into())
}

/// Appends the introduction of a connection from `source` to `target`.
///
/// Where only one of them is an IPv4 address, it is written as the IPv6 address that stands
/// for it.
pub fn write_introduction(
    version: IntroductionVersion,
    (source, target): (SocketAddr, SocketAddr),
    out: &mut Vec<u8>,
) {
    let (from, to) = match (source.ip().to_canonical(), target.ip().to_canonical()) {
        (from @ IpAddr::V4(_), to @ IpAddr::V4(_)) => (from, to),
        (from, to) => (IpAddr::V6(mapped(from)), IpAddr::V6(mapped(to))),
    };
    let ports = (source.port(), target.port());
    match version {
        IntroductionVersion::V1 => write_v1((from, to), ports, out),
        IntroductionVersion::V2 => write_v2((from, to), ports, out),
    }
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

fn write_v1((from, to): (IpAddr, IpAddr), ports: (u16, u16), out: &mut Vec<u8>) {
    let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
    let line = write!(
        out,
        "PROXY {family} {from} {to} {} {}\r\n",
        ports.0, ports.1
    );
    line.expect("a vector takes everything");
}

fn write_v2((from, to): (IpAddr, IpAddr), ports: (u16, u16), out: &mut Vec<u8>) {
    out.extend_from_slice(V2_SIGNATURE);
    match from {
        IpAddr::V4(_) => out.extend_from_slice(&[0x21, 0x11, 0, 12]),
        IpAddr::V6(_) => out.extend_from_slice(&[0x21, 0x21, 0, 36]),
    }
    for address in [from, to] {
        match address {
            IpAddr::V4(v4) => out.extend_from_slice(&v4.octets()),
            IpAddr::V6(v6) => out.extend_from_slice(&v6.octets()),
        }
    }
    out.extend_from_slice(&ports.0.to_be_bytes());
    out.extend_from_slice(&ports.1.to_be_bytes());
}
