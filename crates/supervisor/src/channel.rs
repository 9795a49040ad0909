//! Messages with descriptors over a socket that keeps boundaries.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use crate::protocol::{FDS_MAX, MESSAGE_BYTES_MAX};

const RIGHTS_BYTES: usize = rustix::cmsg_space!(ScmRights(FDS_MAX));

/// One message as received.
pub(crate) struct Packet {
    pub(crate) bytes: Vec<u8>,
    pub(crate) fds: Vec<OwnedFd>,
}

/// Sends one message whole or not at all.
pub(crate) fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    if bytes.len() > MESSAGE_BYTES_MAX || fds.len() > FDS_MAX {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let mut space = [MaybeUninit::uninit(); RIGHTS_BYTES];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(fds));
    }
    let flags = SendFlags::NOSIGNAL;
    rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, flags)
    })?;
    Ok(())
}

/// Receives one message; `None` when the other side is gone.
pub(crate) fn receive(socket: BorrowedFd<'_>) -> io::Result<Option<Packet>> {
    let mut bytes = vec![0; MESSAGE_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); RIGHTS_BYTES];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        let mut into = [IoSliceMut::new(&mut bytes)];
        rustix::net::recvmsg(socket, &mut into, &mut ancillary, RecvFlags::CMSG_CLOEXEC)
    });
    let received = match received {
        Ok(received) => received,
        Err(rustix::io::Errno::CONNRESET) => return Ok(None),
        Err(other) => return Err(other.into()),
    };
    let mut fds = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    if received
        .flags
        .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
    {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    bytes.truncate(received.bytes);
    Ok(Some(Packet { bytes, fds }))
}

/// A sealed memory file with `content`, to attach to a message.
pub(crate) fn sealed(content: &[u8]) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = rustix::fs::memfd_create("gapless-message", flags)?;
    let mut written = 0;
    while written < content.len() {
        written += rustix::io::pwrite(&fd, &content[written..], written as u64)?;
    }
    let all = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&fd, all)?;
    Ok(fd)
}

/// Reads what a sealed memory file holds, at most `bytes_max`.
///
/// A file that could still change or that is larger is refused.
pub(crate) fn unseal(fd: &OwnedFd, bytes_max: u64) -> io::Result<Vec<u8>> {
    let refused = || io::Error::from(io::ErrorKind::InvalidData);
    let needed = SealFlags::SHRINK | SealFlags::WRITE;
    if !rustix::fs::fcntl_get_seals(fd.as_fd())?.contains(needed) {
        return Err(refused());
    }
    let size = u64::try_from(rustix::fs::fstat(fd)?.st_size).map_err(|_| refused())?;
    if size > bytes_max {
        return Err(refused());
    }
    let mut content = vec![0; usize::try_from(size).map_err(|_| refused())?];
    let mut filled = 0;
    while filled < content.len() {
        match rustix::io::pread(fd, &mut content[filled..], filled as u64)? {
            0 => return Err(refused()),
            count => filled += count,
        }
    }
    Ok(content)
}
