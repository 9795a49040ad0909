//! Bodies: their end, their refusal, and what is sent on.

use http1::limits::{CHUNK_EXTENSION_BYTES_MAX, CHUNK_EXTENSIONS_BYTES_MAX, TRAILER_BYTES_MAX};
use http1::{BodyError, BodyReader, BodyRelay, Framing, SegmentKind, Version};

fn chunked() -> BodyRelay {
    BodyRelay::for_request(Framing::Chunked)
}

fn pumped(relay: &mut BodyRelay, input: &[u8]) -> (Result<usize, BodyError>, Vec<u8>) {
    let mut out = Vec::new();
    let taken = relay.pump(input, &mut out);
    (taken, out)
}

#[test]
fn broken_chunks_are_refused() {
    let cases: &[(&[u8], BodyError)] = &[
        (b"\r\n", BodyError::ChunkSize),
        (b" 5\r\nhello\r\n", BodyError::ChunkSize),
        (b"\t5\r\nhello\r\n", BodyError::ChunkSize),
        (b"5 \r\nhello\r\n", BodyError::ChunkSize),
        (b"5\t;a\r\nhello\r\n", BodyError::ChunkSize),
        (b"+5\r\nhello\r\n", BodyError::ChunkSize),
        (b"-5\r\nhello\r\n", BodyError::ChunkSize),
        (b"0x5\r\nhello\r\n", BodyError::ChunkSize),
        (b"5_0\r\n", BodyError::ChunkSize),
        (b"5h\r\n", BodyError::ChunkSize),
        (b"g\r\n", BodyError::ChunkSize),
        (b";a\r\n", BodyError::ChunkSize),
        (b"5\nhello\r\n", BodyError::ChunkSize),
        (b"5\rhello\r\n", BodyError::ChunkSize),
        (b"5\r\r\nhello", BodyError::ChunkSize),
        (b"5\0\r\nhello", BodyError::ChunkSize),
        (b"\xef\xbc\x95\r\nhello", BodyError::ChunkSize),
        (b"8000000000000000\r\n", BodyError::ChunkTooLarge),
        (b"ffffffffffffffff\r\n", BodyError::ChunkTooLarge),
        (b"10000000000000005\r\nhello\r\n", BodyError::ChunkTooLarge),
        (b"00000000000000005\r\nhello\r\n", BodyError::ChunkTooLarge),
        (b"5;a\nhello\r\n0\r\n\r\n", BodyError::ChunkExtension),
        (b"5;a\0\r\nhello\r\n", BodyError::ChunkExtension),
        (b"5;\x7f\r\nhello\r\n", BodyError::ChunkExtension),
        (b"5;\xff\r\nhello\r\n", BodyError::ChunkExtension),
        (b"5;a\rb\r\nhello\r\n", BodyError::ChunkSize),
        (b"5\r\nhello5\r\n", BodyError::ChunkEnd),
        (b"5\r\nhello\n0\r\n\r\n", BodyError::ChunkEnd),
        (b"5\r\nhello\r0\r\n\r\n", BodyError::ChunkEnd),
        (b"5\r\nhello!\r\n", BodyError::ChunkEnd),
        (b"0\r\n\n", BodyError::Trailer),
        (b"0\r\na: b\n\r\n", BodyError::Trailer),
        (b"0\r\na b\r\n\r\n", BodyError::Trailer),
        (b"0\r\na: b\r\n c\r\n\r\n", BodyError::Trailer),
        (b"0\r\n : b\r\n\r\n", BodyError::Trailer),
        (b"0\r\na : b\r\n\r\n", BodyError::Trailer),
        (b"0\r\na: \0\r\n\r\n", BodyError::Trailer),
        (b"0\r\na: b\rc\r\n\r\n", BodyError::Trailer),
        (b"0\r\nContent-Length: 5\r\n\r\n", BodyError::Trailer),
        (
            b"0\r\ntransfer-encoding: chunked\r\n\r\n",
            BodyError::Trailer,
        ),
        (b"0\r\nGET /smuggled HTTP/1.1\r\n\r\n", BodyError::Trailer),
    ];
    for (wire, error) in cases {
        let mut relay = chunked();
        let (taken, out) = pumped(&mut relay, wire);
        assert_eq!(taken, Err(*error), "{}", wire.escape_ascii());
        assert!(
            !out.ends_with(b"0\r\n\r\n"),
            "an end was sent: {}",
            wire.escape_ascii()
        );
        assert_eq!(
            pumped(&mut relay, b"0\r\n\r\n").0,
            Err(*error),
            "a refusal was forgotten"
        );
        assert!(!relay.is_ended());
    }
}

#[test]
fn too_long_extensions_and_trailers_are_refused() {
    let extension = |bytes: u32| format!("1;{}\r\nx\r\n", "e".repeat(bytes as usize - 1));
    let fits = extension(CHUNK_EXTENSION_BYTES_MAX);
    assert_eq!(
        pumped(&mut chunked(), fits.as_bytes()),
        (Ok(fits.len()), b"1\r\nx\r\n".to_vec())
    );
    let long = extension(CHUNK_EXTENSION_BYTES_MAX + 1);
    assert_eq!(
        pumped(&mut chunked(), long.as_bytes()).0,
        Err(BodyError::ChunkExtension)
    );
    let many = fits.repeat((CHUNK_EXTENSIONS_BYTES_MAX / CHUNK_EXTENSION_BYTES_MAX) as usize);
    assert!(pumped(&mut chunked(), many.as_bytes()).0.is_ok());
    let more = format!("{many}1;x\r\nx\r\n");
    assert_eq!(
        pumped(&mut chunked(), more.as_bytes()).0,
        Err(BodyError::ChunkExtension)
    );

    let trailer = |bytes: usize| format!("0\r\nx: {}\r\n\r\n", "y".repeat(bytes - 7));
    assert!(
        pumped(&mut chunked(), trailer(TRAILER_BYTES_MAX).as_bytes())
            .0
            .is_ok()
    );
    let long = trailer(TRAILER_BYTES_MAX + 1);
    assert_eq!(
        pumped(&mut chunked(), long.as_bytes()).0,
        Err(BodyError::TrailerTooLarge)
    );
    let lines = format!("0\r\n{}\r\n", "x: y\r\n".repeat(101));
    assert_eq!(
        pumped(&mut chunked(), lines.as_bytes()).0,
        Err(BodyError::Trailer)
    );
}

#[test]
fn chunks_pass_as_they_are_without_extensions() {
    let mut relay = chunked();
    let wire = b"5;a=b\r\nhello\r\n06\r\n world\r\n0;x\r\n\r\nNEXT";
    let (taken, out) = pumped(&mut relay, wire);
    assert_eq!(taken, Ok(wire.len() - 4));
    assert_eq!(out, b"5\r\nhello\r\n06\r\n world\r\n0\r\n\r\n");
    assert!(relay.is_ended());
    assert_eq!(relay.payload_bytes(), 11);
}

#[test]
fn plain_chunks_pass_without_a_copy_and_stop_at_the_messages_end() {
    let mut relay = chunked();
    let wire = b"5\r\nhello\r\n0\r\n\r\nNEXT";
    assert_eq!(relay.pass(wire), Ok(wire.len() - 4));
    assert!(relay.is_ended());
    assert_eq!(relay.pass(b"NEXT"), Ok(0));
    assert_eq!(pumped(&mut relay, b"NEXT"), (Ok(0), Vec::new()));
}

#[test]
fn passing_stops_before_what_is_not_sent_on() {
    let mut relay = chunked();
    assert_eq!(relay.pass(b"5;ext\r\nhello"), Ok(1));
    assert_eq!(relay.pass(b";ext\r\nhello"), Ok(0));
    assert_eq!(pumped(&mut relay, b";ext"), (Ok(4), Vec::new()));
    assert_eq!(relay.pass(b"\r\nhello\r\n0\r\nx: y\r\n\r\n"), Ok(12));
    assert_eq!(
        pumped(&mut relay, b"x: y\r\n\r\n"),
        (Ok(8), b"x: y\r\n\r\n".to_vec())
    );
    assert!(relay.is_ended());
}

#[test]
fn trailers_are_sent_on_except_those_that_belong_in_heads() {
    let mut relay = chunked();
    let wire = b"0\r\nX-Sum: 1\r\nConnection: x\r\nHost: evil\r\nTE: x\r\nauthorization: x\r\nSet-Cookie: x\r\nX-Client-Certificate-Subject: CN=root\r\nX_Y: z\r\n\r\n";
    let (taken, out) = pumped(&mut relay, wire);
    assert_eq!(taken, Ok(wire.len()));
    assert_eq!(out, b"0\r\nX-Sum: 1\r\n\r\n");
}

#[test]
fn an_old_client_gets_the_payload_alone() {
    let mut relay = BodyRelay::for_response(Framing::Chunked, Version::Http10);
    assert_eq!(relay.pass(b"5\r\nhello"), Ok(0));
    assert_eq!(
        pumped(&mut relay, b"5\r\nhello\r\n0\r\nx: y\r\n\r\n").1,
        b"hello"
    );
    assert!(relay.is_ended());
}

#[test]
fn a_length_is_exact() {
    let mut relay = BodyRelay::for_request(Framing::Length(5));
    assert_eq!(relay.pass(b"hel"), Ok(3));
    assert!(!relay.is_ended());
    assert_eq!(relay.pass(b"loGET"), Ok(2));
    assert!(relay.is_ended());
    assert_eq!(relay.payload_bytes(), 5);
    for empty in [Framing::None, Framing::Length(0)] {
        assert!(BodyRelay::for_request(empty).is_ended());
    }
}

#[test]
fn a_body_until_close_becomes_chunks_that_end_at_the_close() {
    let mut relay = BodyRelay::for_response(Framing::UntilClose, Version::Http11);
    assert_eq!(relay.pass(b"hello world, sixteen"), Ok(0));
    let (taken, mut out) = pumped(&mut relay, b"hello world, sixteen");
    assert_eq!(taken, Ok(20));
    assert_eq!(out, b"14\r\nhello world, sixteen\r\n");
    assert_eq!(relay.end_of_input(&mut out), Ok(()));
    assert!(out.ends_with(b"\r\n0\r\n\r\n"));
    assert!(relay.is_ended());
    let before = out.len();
    assert_eq!(relay.end_of_input(&mut out), Ok(()));
    assert_eq!(out.len(), before, "the end was sent twice");
}

#[test]
fn a_body_that_is_cut_short_has_no_end() {
    let cut: [(Framing, &[u8]); 8] = [
        (Framing::Length(6), b"hello"),
        (Framing::Chunked, b""),
        (Framing::Chunked, b"5"),
        (Framing::Chunked, b"5\r\nhel"),
        (Framing::Chunked, b"5\r\nhello\r\n"),
        (Framing::Chunked, b"5\r\nhello\r\n0\r\n"),
        (Framing::Chunked, b"5\r\nhello\r\n0\r\n\r"),
        (Framing::Chunked, b"0\r\nx: y\r\n"),
    ];
    for (framing, wire) in cut {
        let mut relay = BodyRelay::for_response(framing, Version::Http11);
        let (taken, mut out) = pumped(&mut relay, wire);
        assert_eq!(taken, Ok(wire.len()));
        assert_eq!(
            relay.end_of_input(&mut out),
            Err(BodyError::Truncated),
            "{}",
            wire.escape_ascii()
        );
        assert!(!out.ends_with(b"\r\n\r\n"), "{}", out.escape_ascii());
        assert!(!relay.is_ended());
    }
    let mut relay = BodyRelay::for_response(Framing::UntilClose, Version::Http10);
    assert_eq!(relay.pass(b"hello"), Ok(5));
    assert_eq!(relay.end_of_input(&mut Vec::new()), Ok(()));
}

#[test]
fn what_nobody_wants_is_read_to_the_messages_end() {
    let mut relay = chunked();
    assert_eq!(relay.discard(b"5\r\nhello\r\n0\r\n\r\nGET"), Ok(15));
    assert!(relay.is_ended());
    assert_eq!(chunked().discard(b"5\r\nhello!"), Err(BodyError::ChunkEnd));
}

#[test]
fn a_reader_tells_what_each_byte_is() {
    let mut reader = BodyReader::new(Framing::Chunked);
    let wire = b"3;x\r\nabc\r\n0\r\na: b\r\n\r\n";
    let (mut at, mut payload) = (0, Vec::new());
    while let Some(segment) = reader.advance(&wire[at..]).expect("sound") {
        if segment.kind == SegmentKind::Payload {
            payload.extend_from_slice(&wire[at..at + segment.bytes]);
        }
        at += segment.bytes;
    }
    assert_eq!((at, payload.as_slice()), (wire.len(), &b"abc"[..]));
    assert_eq!(reader.trailer(), b"a: b\r\n\r\n");
}
