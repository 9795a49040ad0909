//! The HTTPS listener, and what it means for services.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use model::{
    CertificateFiles, ClientCertificates, Https, HttpsPolicy, ProgramTls, Protocol, Reach,
    ServiceName,
};

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
        clients: clients(tls),
    })
}

fn clients(tls: &Table) -> Option<ClientCertificates> {
    Some(ClientCertificates {
        ca: tls.get("client_ca")?,
        demand: tls.value("client_certificate"),
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
        clients: clients(table),
    }
}

/// What a program that speaks over TLS must prove; `None` after a mistake.
pub(super) fn program(table: &Table) -> Option<ProgramTls> {
    let (cert, key) = (table.get("cert"), table.get("key"));
    Some(ProgramTls {
        ca: table.get("ca")?,
        name: table.value("name"),
        certificate: cert
            .zip(key)
            .map(|(cert, key)| CertificateFiles { cert, key }),
    })
}

/// Refuses a program that speaks over TLS and need not prove who it is, and the other way round.
pub(super) fn check_program(service: &Table, mistakes: &mut Mistakes<'_>) {
    let protocol: Protocol = service.value("protocol");
    if !service.is_sound("protocol") {
        return;
    }
    if protocol.is_secured() && !service.is_written("program_tls") {
        let message = "nothing says what the program must prove over TLS";
        let mistake = Mistake::new(service.span("protocol"), message);
        mistakes.add(mistake.hint("add `program_tls = { ca = \"/etc/shop/ca.pem\" }`"));
    }
    if !protocol.is_secured() && service.is_written("program_tls") {
        let message = "`program_tls` has a meaning only for a program that speaks over TLS";
        let mistake = Mistake::new(service.key_span("program_tls"), message);
        mistakes.add(mistake.hint("add `protocol = \"https\"`, or \"h2\""));
    }
}

/// A handshake knows the host and not the path: services of one host demand the same.
fn check_demands(services: &[(ServiceName, Table)], mistakes: &mut Mistakes<'_>) {
    let mut seen: BTreeMap<String, (&ServiceName, &Table)> = BTreeMap::new();
    let demand = |service: &Table| clients(service.value("https"));
    for (name, service) in services {
        if !service.is_sound("https") || !service.is_sound("hosts") {
            continue;
        }
        if super::service::reach(service) == Reach::Internal || service.is_written("tcp") {
            continue;
        }
        let mut hosts = super::service::texts(service, "hosts");
        if hosts.is_empty() {
            hosts.push("*".to_owned());
        }
        for host in hosts {
            let (first, other) = *seen.entry(host.to_lowercase()).or_insert((name, service));
            if demand(other) == demand(service) {
                continue;
            }
            let (asking, silent) = match demand(service) {
                Some(_) => (service, first),
                None => (other, name),
            };
            let https: &Table = asking.value("https");
            let message = format!("`{silent}` has the same host and demands something else");
            let mistake = Mistake::new(https.key_span("client_ca"), message);
            mistakes.add(mistake.hint("a handshake knows no path: write the same for both"));
            break;
        }
    }
}

/// Refuses what needs the listener where there is none.
pub(super) fn check(
    server: &Table,
    services: &[(ServiceName, Table)],
    mistakes: &mut Mistakes<'_>,
) {
    check_demands(services, mistakes);
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
