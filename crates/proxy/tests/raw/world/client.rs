//! A client that says exactly what it is told and never tries again.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::GUARD;

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Cleanly,
    Reset,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1);
        let mut fields = lines.filter_map(|line| line.split_once(": "));
        fields
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    /// One whose kernel takes few bytes that nobody has read.
    pub(crate) fn connect_narrow(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4 << 10).unwrap();
        socket.connect(&address.into()).unwrap();
        Self::over(socket.into())
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(GUARD)).unwrap();
        stream.set_write_timeout(Some(GUARD)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            read: Vec::new(),
        }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self
    }

    /// Sends a request without a body, and reads its response.
    pub(crate) fn get(&mut self, path: &str) -> Response {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
        self.response()
    }

    /// The same; false if the connection ends instead of a response.
    pub(crate) fn try_get(&mut self) -> bool {
        let request = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
        if self.stream.write_all(request).is_err() {
            return false;
        }
        let mut bytes = [0; 4_096];
        match self.stream.read(&mut bytes) {
            Ok(count) => bytes[..count].starts_with(b"HTTP/1.1 200"),
            Err(_) => false,
        }
    }

    pub(crate) fn post(&mut self, path: &str, body: &str) -> Response {
        let length = body.len();
        self.send(format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        self.response()
    }

    fn fill(&mut self) -> usize {
        let mut bytes = [0; 65_536];
        let count = self
            .stream
            .read(&mut bytes)
            .expect("bytes before the guard's end");
        self.read.extend_from_slice(&bytes[..count]);
        count
    }

    /// Reads up to and with a mark.
    pub(crate) fn read_to(&mut self, mark: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self
                .read
                .windows(mark.len())
                .position(|window| window == mark)
            {
                return self.read.drain(..at + mark.len()).collect();
            }
            assert!(
                self.fill() > 0,
                "ended before {:?}: {:?}",
                String::from_utf8_lossy(mark),
                String::from_utf8_lossy(&self.read)
            );
        }
    }

    pub(crate) fn read_exactly(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count {
            assert!(
                self.fill() > 0,
                "ended after {} of {count} bytes",
                self.read.len()
            );
        }
        self.read.drain(..count).collect()
    }

    pub(crate) fn head(&mut self) -> Response {
        let head = String::from_utf8(self.read_to(b"\r\n\r\n")).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Response {
            status,
            head,
            body: Vec::new(),
        }
    }

    /// Reads a whole response to a request that was not HEAD.
    pub(crate) fn response(&mut self) -> Response {
        let mut response = self.head();
        if matches!(response.status, 100..200 | 204 | 304) {
            return response;
        }
        if let Some(length) = response.header("content-length") {
            let length = length.parse().unwrap();
            response.body = self.read_exactly(length);
        } else if response.header("transfer-encoding") == Some("chunked") {
            response.body = self.chunks();
        } else {
            while self.fill() > 0 {}
            response.body = std::mem::take(&mut self.read);
        }
        response
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let line = String::from_utf8(self.read_to(b"\r\n")).unwrap();
            let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
            if size == 0 {
                self.read_to(b"\r\n");
                return body;
            }
            body.extend(self.read_exactly(size));
            assert_eq!(self.read_exactly(2), b"\r\n");
        }
    }

    /// Reads what still comes, and tells how the connection ends.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, Ended) {
        let mut bytes = [0; 65_536];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return (std::mem::take(&mut self.read), Ended::Cleanly),
                Ok(count) => self.read.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                    return (std::mem::take(&mut self.read), Ended::Reset);
                }
                Err(error) => panic!("neither end nor reset: {error}"),
            }
        }
    }

    /// True if nothing at all comes within a moment.
    pub(crate) fn is_silent_for(&mut self, span: Duration) -> bool {
        self.stream.set_read_timeout(Some(span)).unwrap();
        let begun = Instant::now();
        let mut byte = [0; 1];
        let read = self.stream.peek(&mut byte);
        self.stream.set_read_timeout(Some(GUARD)).unwrap();
        self.read.is_empty() && read.is_err() && begun.elapsed() >= span
    }

    pub(crate) fn half_close(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Reads the response that comes after interim ones.
    pub(crate) fn final_response(&mut self) -> Response {
        loop {
            let response = self.response();
            if response.status != 100 {
                return response;
            }
        }
    }

    /// Resets the connection.
    pub(crate) fn reset(self) {
        rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO)).unwrap();
    }
}
