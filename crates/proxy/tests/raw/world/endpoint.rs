//! A program behind the proxy, scripted connection by connection.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use super::GUARD;

/// A program; it ends with the test.
pub(crate) struct Program {
    pub(crate) address: SocketAddr,
    /// What its connections reported.
    reports: Mutex<Receiver<String>>,
    connections: Arc<AtomicUsize>,
}

/// One connection to a program.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    /// Which of the program's connections it is, from 0.
    pub(crate) number: usize,
    report: Sender<String>,
    read: Vec<u8>,
}

impl Program {
    /// Runs `script` for each connection, each in its own thread.
    pub(crate) fn new(
        script: impl Fn(&mut Connection) -> Option<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (report, reports) = channel();
        let script = Arc::new(script);
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                stream.set_read_timeout(Some(GUARD)).unwrap();
                stream.set_nodelay(true).unwrap();
                let number = counter.fetch_add(1, Ordering::SeqCst);
                let mut connection = Connection {
                    stream,
                    number,
                    report: report.clone(),
                    read: Vec::new(),
                };
                let script = Arc::clone(&script);
                std::thread::spawn(move || script(&mut connection));
            }
        });
        Self {
            address,
            reports: Mutex::new(reports),
            connections,
        }
    }

    /// Answers every request with its own request line, its body, and `name`.
    pub(crate) fn echo(name: &'static str) -> Self {
        Self::new(move |connection| {
            loop {
                let (head, body) = connection.request()?;
                let line = head.lines().next().unwrap().to_owned();
                connection.answer(&format!("{name}: {line} [{body}]"));
            }
        })
    }

    /// The next thing that a connection reported.
    pub(crate) fn report(&self) -> String {
        self.reports
            .lock()
            .unwrap()
            .recv_timeout(GUARD)
            .expect("a report before the guard's end")
    }

    /// How many connections it has had.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Connection {
    pub(crate) fn report(&self, what: impl Into<String>) {
        let _ = self.report.send(what.into());
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> Option<()> {
        self.stream.write_all(bytes.as_ref()).ok()
    }

    pub(crate) fn answer(&mut self, body: &str) {
        let length = body.len();
        self.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
    }

    /// More bytes; `None` at the connection's end.
    fn fill(&mut self) -> Option<()> {
        let mut bytes = [0; 65_536];
        let count = self
            .stream
            .read(&mut bytes)
            .ok()
            .filter(|&count| count > 0)?;
        self.read.extend_from_slice(&bytes[..count]);
        Some(())
    }

    pub(crate) fn read_to(&mut self, mark: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self
                .read
                .windows(mark.len())
                .position(|window| window == mark)
            {
                return Some(self.read.drain(..at + mark.len()).collect());
            }
            self.fill()?;
        }
    }

    /// Whatever comes next; `None` at the connection's end.
    pub(crate) fn some(&mut self) -> Option<Vec<u8>> {
        if self.read.is_empty() {
            self.fill()?;
        }
        Some(std::mem::take(&mut self.read))
    }

    /// Waits until the other side ends the connection, and says how.
    pub(crate) fn how_it_ends(&mut self) -> &'static str {
        let mut bytes = [0; 4_096];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return "Cleanly",
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                    return "Reset";
                }
                Err(_) => return "Never",
            }
        }
    }

    pub(crate) fn read_exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.read.len() < count {
            self.fill()?;
        }
        Some(self.read.drain(..count).collect())
    }

    pub(crate) fn head(&mut self) -> Option<String> {
        self.read_to(b"\r\n\r\n")
            .map(|head| String::from_utf8(head).unwrap())
    }

    /// Reads a request with its body, whose chunks are joined.
    pub(crate) fn request(&mut self) -> Option<(String, String)> {
        let head = self.head()?;
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let body = if let Some(length) = length {
            self.read_exactly(length.parse().unwrap())?
        } else if head.contains("transfer-encoding: chunked") {
            self.chunks()?
        } else {
            Vec::new()
        };
        Some((head, String::from_utf8(body).unwrap()))
    }

    fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = String::from_utf8(self.read_to(b"\r\n")?).unwrap();
            let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
            if size == 0 {
                self.read_to(b"\r\n")?;
                return Some(body);
            }
            body.extend(self.read_exactly(size)?);
            self.read_exactly(2)?;
        }
    }

    /// Waits until the other side ends the connection, and says how many bytes came before.
    pub(crate) fn wait_for_end(&mut self) -> usize {
        while self.fill().is_some() {}
        self.read.len()
    }

    pub(crate) fn reset(&mut self) {
        let _ =
            rustix::net::sockopt::set_socket_linger(&self.stream, Some(std::time::Duration::ZERO));
    }

    pub(crate) fn half_close(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}
