//! The HTTPS listener, and what it means for services.

use std::net::SocketAddr;

use model::{CertificateFiles, Https, HttpsPolicy, ServiceName};

use crate::diagnostic::{Mistake, Mistakes};
use crate::value::Table;

/// The most certificates: each is looked at every few seconds.
const CERTIFICATES_MAX: usize = 1_000;

/// The listener; `None` without one, or after a mistake.
pub(super) fn build(server: &Table, mistakes: &mut Mistakes<'_>) -> Option<Https> {
    let address: SocketAddr = server.get("https")?;
    let tls: &Table = server.get("tls")?;
    if server.is_sound("http") && address == server.value("http") {
        let mistake = Mistake::new(
            server.span("https"),
            "`https` and `http` are the same address",
        );
        mistakes.add(mistake.hint("give one of them another port"));
    }
    let certificates = certificates(tls);
    if tls.is_written("certificates") && tls.is_sound("certificates") {
        check_count(tls, certificates.len(), mistakes);
    }
    Some(Https {
        address,
        certificates,
    })
}

fn certificates(tls: &Table) -> Vec<CertificateFiles> {
    let tables = tls.get::<&[Table]>("certificates").unwrap_or_default();
    let files = tables.iter().filter_map(|table| {
        Some(CertificateFiles {
            cert: table.get("cert")?,
            key: table.get("key")?,
        })
    });
    files.collect()
}

fn check_count(tls: &Table, count: usize, mistakes: &mut Mistakes<'_>) {
    if count == 0
        && tls
            .get::<&[Table]>("certificates")
            .is_some_and(<[_]>::is_empty)
    {
        let mistake = Mistake::new(tls.span("certificates"), "`certificates` is an empty list");
        mistakes.add(mistake.hint("a listener without certificates can serve nobody"));
    } else if count > CERTIFICATES_MAX {
        let message = format!("{count} certificates are more than {CERTIFICATES_MAX}");
        mistakes.add(Mistake::new(tls.span("certificates"), message));
    }
}

/// What HTTPS means for one service.
pub(super) fn policy(table: &Table) -> HttpsPolicy {
    HttpsPolicy {
        redirect: table.value("redirect"),
        hsts: table.get("hsts"),
    }
}

/// Refuses what needs the listener where there is none.
pub(super) fn check(
    server: &Table,
    services: &[(ServiceName, Table)],
    mistakes: &mut Mistakes<'_>,
) {
    if server.is_written("https") {
        return;
    }
    for (_, service) in services {
        if service.is_written("https") {
            let message = "`https` of a service needs the listener";
            let mistake = Mistake::new(service.key_span("https"), message);
            mistakes.add(mistake.hint("add `https` and `tls` to [server]"));
        }
    }
}
