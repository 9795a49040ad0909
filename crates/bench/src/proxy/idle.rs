//! Connections that were used once and stay open.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::front::Front;

const CONNECTIONS: usize = 10_000;

/// Memory of each of ten thousand idle keep-alive connections.
pub(super) fn run(fronts: &[&Front]) -> Result<Value, String> {
    let mut out = serde_json::Map::new();
    for front in fronts {
        let before = anonymous_kib(&front.pids)?;
        let open = (0..CONNECTIONS).map(|_| used_once(front.plain));
        let open = open.collect::<std::io::Result<Vec<TcpStream>>>();
        let open = open.map_err(|error| format!("{}: {error}", front.name))?;
        // What was needed for the requests is given back soon after.
        std::thread::sleep(std::time::Duration::from_secs(3));
        let each = (anonymous_kib(&front.pids)? - before) / open.len() as f64;
        eprintln!("idle: {:8} {each:.2} KiB a connection", front.name);
        out.insert(front.name.to_owned(), json!(each));
    }
    Ok(Value::Object(out))
}

fn used_once(port: u16) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: web.localhost\r\n\r\n")?;
    let mut answer = [0; 4096];
    let read = stream.read(&mut answer)?;
    if answer[..read].starts_with(b"HTTP/1.1 200") {
        Ok(stream)
    } else {
        Err(std::io::Error::other(
            String::from_utf8_lossy(&answer[..read]).into_owned(),
        ))
    }
}

fn anonymous_kib(pids: &[u32]) -> Result<f64, String> {
    let each = pids.iter().map(|&pid| crate::idle::anonymous_kib(pid));
    Ok(each.sum::<Result<u64, String>>()? as f64)
}
