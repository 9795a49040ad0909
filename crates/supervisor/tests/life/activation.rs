//! A service manager makes the sockets, and keeps them while the server is away.

use std::io::{IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use crate::stage::Stage;

/// The service manager's end: what it is told, and the files that come along.
struct Systemd {
    directory: tempfile::TempDir,
    socket: UnixDatagram,
}

impl Systemd {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        Self { directory, socket }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("notify")
    }

    fn told(&self) -> (String, Vec<OwnedFd>) {
        let (mut bytes, mut space) = ([0; 256], [MaybeUninit::uninit(); 64]);
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(&mut bytes)];
        let received =
            rustix::net::recvmsg(&self.socket, &mut into, &mut ancillary, RecvFlags::empty());
        let count = received.unwrap().bytes;
        let mut files = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                files.extend(rights);
            }
        }
        (String::from_utf8(bytes[..count].to_vec()).unwrap(), files)
    }
}

fn variables(pid: u32) -> String {
    let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    String::from_utf8_lossy(&environ).into_owned()
}

#[test]
fn a_socket_made_by_systemd_is_used_kept_by_it_and_used_again_after_a_restart() {
    let systemd = Systemd::new();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    // They came before there was a server.
    let early: Vec<_> = (0..5)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    let (stage, mut worker) = Stage::open_activated(socket.into(), &systemd.path());
    assert!(
        !variables(worker.pid).contains("LISTEN_"),
        "they are for the server alone"
    );
    let bound = worker.must(&format!("bind\t{address}"));
    assert!(
        bound.starts_with(&format!("{address} 2 ")),
        "each thread has one: {bound}"
    );
    assert_eq!(worker.must("accept\t5"), "5");
    for mut connection in early {
        connection.read_exact(&mut [0]).unwrap();
    }
    let (said, mut kept) = systemd.told();
    let name = address.to_string().replace(':', ".");
    assert_eq!(said, format!("FDSTORE=1\nFDNAME=listen-{name}"));
    assert_eq!(kept.len(), 1);
    drop((stage, worker));
    // Nobody is there: whoever comes waits in the socket that was kept.
    let mut late = TcpStream::connect(address).unwrap();
    let kept = kept.remove(0);
    let (_stage, mut worker) = Stage::open_activated(kept, &systemd.path());
    worker.must(&format!("bind\t{address}"));
    assert_eq!(worker.must("accept\t1"), "1");
    late.read_exact(&mut [0]).unwrap();
    worker.must(&format!("release\t{address}"));
    let mut said = systemd.told().0;
    while said.starts_with("FDSTORE=1") || said == "STOPPING=1" {
        said = systemd.told().0;
    }
    assert_eq!(said, format!("FDSTOREREMOVE=1\nFDNAME=listen-{name}"));
}
