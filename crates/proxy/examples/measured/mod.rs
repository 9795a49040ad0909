//! What the measured proxies are started with.

use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};

/// A socket that listens beside others on the same address, one for each thread.
pub(crate) fn listening(address: SocketAddr) -> Result<Socket, std::io::Error> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1_024)?;
    Ok(socket)
}
