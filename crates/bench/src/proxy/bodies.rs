//! Large bodies: what a byte costs.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use super::front::{Front, OTHER_CORE};
use super::measure::{Rounds, cost};

const ROUNDS: usize = 7;
const MEGA: u64 = 1 << 20;

/// CPU time of a mebibyte, in bodies of 1 MiB and of 100 MiB.
pub(super) fn run(fronts: &[&Front]) -> Result<Value, String> {
    let mut out = serde_json::Map::new();
    for (size, times) in [(1, 400), (100, 8)] {
        let rounds = Rounds::run(fronts, ROUNDS, |front| {
            cost(front, || {
                fetch(front.plain, size * MEGA, times).map(|bytes| bytes / MEGA as f64)
            })
        })?;
        let what = format!("bodies of {size} MiB");
        out.insert(
            format!("{size}_mib"),
            rounds.report(&what, "us of CPU a MiB"),
        );
    }
    Ok(Value::Object(out))
}

/// Fetches a body so often over one connection, and returns how many bytes of bodies came.
fn fetch(port: u16, size: u64, times: u32) -> Result<f64, String> {
    std::thread::spawn(move || {
        super::tools::pin_this(OTHER_CORE)?;
        fetch_here(port, size, times).map_err(|error| format!("port {port}: {error}"))
    })
    .join()
    .map_err(|_| "the reader died".to_owned())?
}

fn fetch_here(port: u16, size: u64, times: u32) -> std::io::Result<f64> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    let mut buffer = vec![0; 256 * 1024];
    let request = format!("GET /bytes/{size} HTTP/1.1\r\nHost: web.localhost\r\n\r\n");
    for _ in 0..times {
        stream.write_all(request.as_bytes())?;
        let (mut head, mut left) = (Vec::new(), size);
        while left > 0 {
            let read = stream.read(&mut buffer)?;
            if read == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let body = if left == size && !head.ends_with(b"\r\n\r\n") {
                let part = &buffer[..read];
                let end = part.windows(4).position(|four| four == b"\r\n\r\n");
                let end = end.ok_or(std::io::ErrorKind::InvalidData)?;
                head.extend_from_slice(&part[..end + 4]);
                read - end - 4
            } else {
                read
            };
            left = left.saturating_sub(body as u64);
        }
        if !head.starts_with(b"HTTP/1.1 200") {
            let head = String::from_utf8_lossy(&head).into_owned();
            return Err(std::io::Error::other(head));
        }
    }
    Ok(size as f64 * f64::from(times))
}
