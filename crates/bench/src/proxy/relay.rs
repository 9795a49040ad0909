//! The least that can stand between a client and a program: bytes, carried both ways by one thread.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};

/// Carries connections until it is ended: the process under measurement, started by the benchmark.
pub(crate) fn serve(from: u16, to: u16) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    runtime.block_on(async {
        let listener = TcpListener::bind(local(from)).await?;
        loop {
            let (mut client, _) = listener.accept().await?;
            tokio::spawn(async move {
                let mut program = TcpStream::connect(local(to)).await?;
                client.set_nodelay(true)?;
                program.set_nodelay(true)?;
                tokio::io::copy_bidirectional(&mut client, &mut program).await
            });
        }
    })
}
