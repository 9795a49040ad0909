//! One request as a line of JSON.

use std::io::Write;

use model::{QueryShown, ReleaseId};

/// Longer values are cut.
const VALUE_BYTES_MAX: usize = 1_024;

/// Who ended a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Client,
    Upstream,
    Proxy,
}

/// How far the request had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its head was being read.
    Head,
    /// It was being matched with a route and its bounds.
    Route,
    /// It waited for an endpoint.
    Queue,
    /// A connection to an endpoint was being made.
    Connect,
    /// Its body was on its way.
    Request,
    /// Its response had not begun.
    Waiting,
    /// Its response was on its way.
    Response,
    /// It had become a tunnel.
    Tunnel,
}

/// Who ended a request, in which phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Termination(pub(crate) By, pub(crate) Stage);

/// What is noted of a request while it is served. Times are of the monotonic clock, 0 for never.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Account {
    pub(crate) status: u16,
    /// The name of the reason, if the answer is the proxy's.
    pub(crate) reason: Option<&'static str>,
    /// `None`: a whole response, or a tunnel that its ends ended.
    pub(crate) termination: Option<Termination>,
    /// The release and the serial number of the instance that was asked last.
    pub(crate) instance: Option<(ReleaseId, u32)>,
    pub(crate) claimed_micros: u64,
    pub(crate) connected_micros: u64,
    pub(crate) begun_micros: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

/// Everything about a request that has ended.
#[derive(Debug, Default)]
pub(crate) struct Line<'a> {
    pub(crate) client: &'a [u8],
    pub(crate) request_id: &'a [u8],
    pub(crate) host: Option<&'a [u8]>,
    pub(crate) method: Option<&'a [u8]>,
    pub(crate) path: &'a [u8],
    pub(crate) query: Option<&'a [u8]>,
    pub(crate) protocol: &'a str,
    pub(crate) service: Option<&'a str>,
    pub(crate) attempts: u8,
    pub(crate) account: Account,
    pub(crate) arrived_micros: u64,
    /// When it ended, by the monotonic and by the wall clock.
    pub(crate) ended_micros: u64,
    pub(crate) wall_micros: i64,
}

impl Termination {
    fn write(self, out: &mut Vec<u8>) {
        let by = match self.0 {
            By::Client => "client",
            By::Upstream => "upstream",
            By::Proxy => "proxy",
        };
        let stage = match self.1 {
            Stage::Head => "head",
            Stage::Route => "route",
            Stage::Queue => "queue",
            Stage::Connect => "connect",
            Stage::Request => "request",
            Stage::Waiting => "waiting",
            Stage::Response => "response",
            Stage::Tunnel => "tunnel",
        };
        put(out, format_args!("\"{by}/{stage}\""));
    }
}

impl Line<'_> {
    /// Appends the line. `dropped` says how many lines before it are missing.
    pub(super) fn write(&self, (query, dropped): (QueryShown, u64), out: &mut Vec<u8>) {
        let account = &self.account;
        out.extend_from_slice(b"{\"time\":\"");
        match jiff::Timestamp::from_microsecond(self.wall_micros) {
            Ok(time) => put(out, format_args!("{time:.6}\"")),
            Err(_) => out.extend_from_slice(b"unknown\""),
        }
        text(out, "request_id", Some(self.request_id));
        text(out, "client", Some(self.client));
        text(out, "host", self.host);
        text(out, "method", self.method);
        text(out, "path", self.method.map(|_| self.path));
        if query == QueryShown::Yes {
            text(out, "query", self.query);
        }
        text(out, "protocol", Some(self.protocol.as_bytes()));
        match account.status {
            0 => out.extend_from_slice(b",\"status\":null"),
            status => put(out, format_args!(",\"status\":{status}")),
        }
        put(
            out,
            format_args!(
                ",\"bytes_in\":{},\"bytes_out\":{}",
                account.bytes_in, account.bytes_out
            ),
        );
        self.write_times(out);
        text(out, "service", self.service.map(str::as_bytes));
        self.write_instance(out);
        put(
            out,
            format_args!(",\"attempts\":{},\"termination\":", self.attempts),
        );
        match account.termination {
            Some(termination) => termination.write(out),
            None => out.extend_from_slice(b"\"complete\""),
        }
        text(out, "reason", account.reason.map(str::as_bytes));
        if dropped > 0 {
            put(out, format_args!(",\"dropped\":{dropped}"));
        }
        out.extend_from_slice(b"}\n");
    }

    fn write_times(&self, out: &mut Vec<u8>) {
        let account = &self.account;
        let from_arrival = |to| span(self.arrived_micros, to);
        for (name, micros) in [
            ("duration_ms", from_arrival(self.ended_micros)),
            ("wait_ms", from_arrival(account.claimed_micros)),
            (
                "connect_ms",
                span(account.claimed_micros, account.connected_micros),
            ),
            ("first_byte_ms", from_arrival(account.begun_micros)),
        ] {
            match micros {
                Some(micros) => put(
                    out,
                    format_args!(",\"{name}\":{}.{:03}", micros / 1_000, micros % 1_000),
                ),
                None => put(out, format_args!(",\"{name}\":null")),
            }
        }
    }

    fn write_instance(&self, out: &mut Vec<u8>) {
        match (self.account.instance, self.service) {
            (Some((release, serial)), Some(service)) => put(
                out,
                format_args!(
                    ",\"release\":\"{release}\",\"instance\":\"{service}-{release}-{serial}\""
                ),
            ),
            (Some(_) | None, _) => out.extend_from_slice(b",\"release\":null,\"instance\":null"),
        }
    }
}

/// A time between two moments that both came.
fn span(from: u64, to: u64) -> Option<u64> {
    (from > 0 && to > 0).then(|| to.saturating_sub(from))
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Memory takes everything.
    let _ = out.write_fmt(text);
}

/// Appends a value that a client chose: whatever it is, the line stays one line of JSON.
fn text(out: &mut Vec<u8>, name: &str, value: Option<&[u8]>) {
    put(out, format_args!(",\"{name}\":"));
    let Some(value) = value else {
        out.extend_from_slice(b"null");
        return;
    };
    out.push(b'"');
    for &byte in &value[..value.len().min(VALUE_BYTES_MAX)] {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0x20..=0x7e => out.push(byte),
            _ => put(out, format_args!("\\u{:04x}", byte)),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(line: &Line<'_>, query: QueryShown) -> String {
        let mut out = Vec::new();
        line.write((query, 0), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_says_everything() {
        let line = Line {
            client: b"192.0.2.1",
            request_id: b"id",
            host: Some(b"shop.example"),
            method: Some(b"GET"),
            path: b"/a",
            query: Some(b"token=1"),
            protocol: "HTTP/1.1",
            service: Some("web"),
            attempts: 2,
            account: Account {
                status: 502,
                reason: Some("no_response"),
                termination: Some(Termination(By::Upstream, Stage::Waiting)),
                instance: Some((ReleaseId(3), 7)),
                claimed_micros: 1_500,
                connected_micros: 2_000,
                begun_micros: 0,
                bytes_in: 4,
                bytes_out: 0,
            },
            arrived_micros: 1_000,
            ended_micros: 13_345,
            wall_micros: 1_700_000_000_123_456,
        };
        assert_eq!(
            written(&line, QueryShown::No),
            "{\"time\":\"2023-11-14T22:13:20.123456Z\",\"request_id\":\"id\",\
             \"client\":\"192.0.2.1\",\"host\":\"shop.example\",\"method\":\"GET\",\"path\":\"/a\",\
             \"protocol\":\"HTTP/1.1\",\"status\":502,\"bytes_in\":4,\"bytes_out\":0,\
             \"duration_ms\":12.345,\"wait_ms\":0.500,\"connect_ms\":0.500,\"first_byte_ms\":null,\
             \"service\":\"web\",\"release\":\"v3\",\"instance\":\"web-v3-7\",\"attempts\":2,\
             \"termination\":\"upstream/waiting\",\"reason\":\"no_response\"}\n"
        );
        assert!(written(&line, QueryShown::Yes).contains("\"path\":\"/a\",\"query\":\"token=1\","));
    }

    #[test]
    fn what_a_client_chose_cannot_break_the_line() {
        let line = Line {
            method: Some(b"GET"),
            path: b"/\"\\\n\x1b[2J\xff",
            host: Some(&[b'x'; 5_000]),
            ..Line::default()
        };
        let text = written(&line, QueryShown::No);
        assert!(
            text.contains("\"path\":\"/\\\"\\\\\\u000a\\u001b[2J\\u00ff\""),
            "{text}"
        );
        assert_eq!(text.lines().count(), 1);
        assert!(text.len() < 2_000);
    }
}
