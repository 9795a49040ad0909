//! The PROXY protocol: what is understood, what is refused, and both ways at once.

use std::net::SocketAddr;

use http1::{
    INTRODUCTION_BYTES_MAX, Introduced, Introduction, IntroductionVersion, NotIntroduced,
    read_introduction, write_introduction,
};
use proptest::prelude::*;

use super::support::checks;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn v2(command: u8, family: u8, more: &[u8]) -> Vec<u8> {
    let bytes = u16::try_from(more.len()).expect("short").to_be_bytes();
    [SIGNATURE, &[command, family], &bytes, more].concat()
}

fn whole(bytes: usize, client: &str) -> Result<Introduced, NotIntroduced> {
    let client = client.parse().expect("an address");
    Ok(Introduced::Whole(bytes, Introduction::For(client)))
}

#[test]
fn a_line_of_version_one_names_the_client() {
    for (line, client) in [
        ("PROXY TCP4 1.2.3.4 5.6.7.8 4711 80\r\n", "1.2.3.4:4711"),
        (
            "PROXY TCP6 2001:db8::1 ::1 4711 80\r\n",
            "[2001:db8::1]:4711",
        ),
    ] {
        let input = format!("{line}GET / HTTP/1.1\r\n");
        assert_eq!(
            read_introduction(input.as_bytes()),
            whole(line.len(), client)
        );
    }
    for line in [
        "PROXY UNKNOWN\r\n",
        "PROXY UNKNOWN ffff:: ffff:: 65535 65535\r\n",
    ] {
        let own = Introduced::Whole(line.len(), Introduction::Own);
        assert_eq!(read_introduction(line.as_bytes()), Ok(own));
    }
}

#[test]
fn what_is_no_line_of_version_one_is_refused() {
    let long = format!("PROXY UNKNOWN {}", "x".repeat(100));
    for line in [
        "GET / HTTP/1.1\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 4711 80\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 4711\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 4711 80 \r\n",
        "PROXY TCP4  1.2.3.4 5.6.7.8 4711 80\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 65536 80\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 +4711 80\r\n",
        "PROXY TCP4 ::1 ::1 1 80\r\n",
        "PROXY TCP6 1.2.3.4 5.6.7.8 1 80\r\n",
        "PROXY UDP4 1.2.3.4 5.6.7.8 1 80\r\n",
        "PROXY UNKNOWNS\r\n",
        "proxy TCP4 1.2.3.4 5.6.7.8 4711 80\r\n",
        &long,
    ] {
        assert_eq!(
            read_introduction(line.as_bytes()),
            Err(NotIntroduced),
            "{line}"
        );
    }
}

#[test]
fn version_two_names_the_client_and_its_extensions_are_passed_over() {
    let addresses = [1, 2, 3, 4, 5, 6, 7, 8, 0x12, 0x67, 0, 80];
    let extended = [&addresses[..], &[0x04, 0, 1, 0xff]].concat();
    for more in [&addresses[..], &extended] {
        let input = v2(0x21, 0x11, more);
        assert_eq!(
            read_introduction(&input),
            whole(input.len(), "1.2.3.4:4711")
        );
    }
    for own in [
        v2(0x20, 0x00, &[]),
        v2(0x20, 0x11, &addresses),
        v2(0x21, 0x00, b"whatever"),
    ] {
        let read = Introduced::Whole(own.len(), Introduction::Own);
        assert_eq!(read_introduction(&own), Ok(read));
    }
}

#[test]
fn what_is_not_version_two_is_refused() {
    let addresses = [0; 36];
    for input in [
        v2(0x11, 0x11, &addresses),
        v2(0x22, 0x11, &addresses),
        v2(0x21, 0x12, &addresses),
        v2(0x21, 0x31, &addresses),
        v2(0x21, 0x11, &addresses[..11]),
        v2(0x21, 0x21, &addresses[..35]),
        v2(0x21, 0x11, &[0; 4_097]),
    ] {
        assert_eq!(
            read_introduction(&input),
            Err(NotIntroduced),
            "{:?}",
            &input[12..16]
        );
    }
}

#[test]
fn mixed_families_become_the_wider_one() {
    let mut out = Vec::new();
    let ends = (
        "1.2.3.4:5".parse().expect("v4"),
        "[::1]:80".parse().expect("v6"),
    );
    write_introduction(IntroductionVersion::V1, ends, &mut out);
    assert_eq!(out, b"PROXY TCP6 ::ffff:1.2.3.4 ::1 5 80\r\n");
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(source: SocketAddr, target: SocketAddr, first: bool) {
        let version = if first { IntroductionVersion::V1 } else { IntroductionVersion::V2 };
        let mut out = Vec::new();
        write_introduction(version, (source, target), &mut out);
        let Ok(Introduced::Whole(bytes, Introduction::For(client))) = read_introduction(&out) else {
            panic!("not read back: {out:?}");
        };
        prop_assert_eq!(bytes, out.len());
        prop_assert_eq!(client.port(), source.port());
        prop_assert_eq!(client.ip().to_canonical(), source.ip().to_canonical());
    }

    #[test]
    fn any_bytes_are_judged_alike_however_they_come(
        begin in prop::sample::select(vec![&b""[..], b"PROXY ", b"PROXY TCP4 1.2.3.4 ", SIGNATURE, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"]),
        rest: Vec<u8>,
    ) {
        checks::introduction(&[begin, &rest].concat());
    }
}

#[test]
fn an_introduction_is_bounded() {
    let endless = [SIGNATURE, &[0x21, 0x11, 0xff, 0xff], &[0; 70_000]].concat();
    assert_eq!(read_introduction(&endless), Err(NotIntroduced));
    let longest = v2(0x20, 0, &[0; 4_096]);
    let read = Introduced::Whole(INTRODUCTION_BYTES_MAX, Introduction::Own);
    assert_eq!(read_introduction(&longest), Ok(read));
}
