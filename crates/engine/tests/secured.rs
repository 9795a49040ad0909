//! What a table says of TLS: of listeners, and of the releases whose programs speak over it.
#![expect(clippy::unwrap_used, reason = "a test fails where it is surprised")]

mod support;

use engine::{Effect, Engine, Event};
use fleet::ProbeResult;
use model::{
    CertificateFiles, ClientCertificates, Command, Demand, Epoch, Https, Port, ProgramTls,
    Protocol, Time,
};
use traffic::{ListenerKind, Table};

use support::{deploy, service};

/// Does at once what is ordered, for a second; the last table.
fn table_after(command: Command) -> Table {
    let mut engine = Engine::new(Epoch(1));
    let mut last = None;
    let mut events = vec![
        Event::Command { id: 1, command },
        Event::Children(Vec::new()),
    ];
    for now in (0..2_000).step_by(20) {
        while let Some(event) = events.pop() {
            for effect in engine.poll(event, Time(now)) {
                match effect {
                    Effect::Journal { batch, .. } => events.push(Event::Journaled { batch }),
                    Effect::Spawn(spawn) => events.push(Event::Spawned {
                        instance: spawn.instance,
                        result: Ok(()),
                    }),
                    Effect::Probe { instance } => events.push(Event::Probed {
                        instance,
                        result: ProbeResult::Passed,
                    }),
                    Effect::Publish { table, .. } => {
                        let revision = table.revision;
                        events.push(Event::Confirmed { revision });
                        last = Some(table);
                    }
                    _ => {}
                }
            }
        }
        events.push(Event::Tick);
    }
    last.unwrap()
}

fn files(name: &str) -> CertificateFiles {
    CertificateFiles {
        cert: format!("/etc/{name}.pem"),
        key: format!("/etc/{name}.key"),
    }
}

#[test]
fn a_release_that_speaks_over_tls_says_so_with_what_its_program_must_prove() {
    let tls = ProgramTls {
        ca: "/etc/ca.pem".to_owned(),
        name: "web.internal".to_owned(),
        certificate: Some(files("own")),
    };
    let mut web = service("web", Port::Assigned);
    let spec = &mut web.release.as_mut().unwrap().spec;
    spec.protocol = Protocol::Https;
    spec.program_tls = Some(tls.clone());
    let table = table_after(Command::Deploy(deploy(vec![web])));
    let stable = &table.services[0].stable;
    assert_eq!(stable.tls, Some(tls));
    assert_eq!(stable.endpoints.len(), 1);
    assert_eq!(stable.endpoints[0].protocol, Protocol::Https);
}

#[test]
fn the_https_listener_is_introduced_like_the_other_one_and_asks_who_its_clients_are() {
    let clients = ClientCertificates {
        ca: "/etc/clients.pem".to_owned(),
        demand: Demand::Required,
    };
    let mut wanted = deploy(vec![service("web", Port::Assigned)]);
    wanted.peers.proxy_protocol = true;
    wanted.https = Some(Https {
        address: "127.0.0.1:8443".parse().unwrap(),
        certificates: vec![files("shop")],
        clients: Some(clients.clone()),
    });
    let table = table_after(Command::Deploy(wanted));
    let seen: Vec<_> = table
        .listeners
        .iter()
        .map(|listener| (listener.kind, listener.proxy_protocol))
        .collect();
    assert!(seen.contains(&(ListenerKind::Http, true)), "{seen:?}");
    assert!(seen.contains(&(ListenerKind::Https, true)), "{seen:?}");
    assert_eq!(table.certificates, [files("shop")]);
    assert_eq!(table.clients, Some(clients));
}
