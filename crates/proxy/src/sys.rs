//! What only the C library can do. Each function says why its call is sound.

#![expect(unsafe_code, reason = "functions of the C library")]

use std::io;
use std::os::fd::AsFd;

use rustix::ioctl::{Getter, Opcode, ioctl};

/// How many bytes given to a socket its other side has not acknowledged yet.
///
/// # Errors
///
/// What the kernel says, if it does not tell.
pub(crate) fn unacknowledged_bytes(socket: impl AsFd) -> io::Result<i32> {
    // SAFETY: `SIOCOUTQ`, which is another name of this number, writes one `int`.
    let bytes = unsafe { ioctl(socket, Getter::<{ libc::TIOCOUTQ as Opcode }, i32>::new()) };
    Ok(bytes?)
}

/// Gives freed memory back to the machine, wherever it lies.
///
/// The call takes no pointer and touches nothing that is in use.
#[cfg(target_env = "gnu")]
pub(crate) fn give_back_memory() {
    unsafe extern "C" {
        safe fn malloc_trim(pad: usize) -> std::ffi::c_int;
    }
    // It says whether there was anything to give back, which changes nothing.
    let _ = malloc_trim(0);
}

/// Other C libraries give back by themselves.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn give_back_memory() {}
