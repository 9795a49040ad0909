//! The few calls that the kernel offers only through raw numbers.
#![expect(
    unsafe_code,
    reason = "raw descriptors, signal masks and the time between fork and exec"
)]

use std::ffi::{CString, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::io::FdFlags;
use rustix::process::{Gid, Resource, Rlimit, Uid};

use crate::config::Identity;

/// `SO_MEMINFO` fills this many counters; the last one counts drops.
const MEMINFO_COUNTERS: usize = 9;
const SIGNAL_INFO_BYTES: usize = size_of::<libc::signalfd_siginfo>();

/// Takes ownership of a descriptor that this process was started with.
///
/// `None` unless it is open, above standard error and a socket that keeps
/// message boundaries. It is closed on exec from now on.
pub(crate) fn adopt_socket(number: RawFd) -> Option<OwnedFd> {
    if number <= 2 {
        return None;
    }
    // SAFETY: only looked at; whether it is open is what is asked.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    let kind = rustix::net::sockopt::socket_type(borrowed).ok()?;
    if kind != rustix::net::SocketType::SEQPACKET {
        return None;
    }
    rustix::io::fcntl_setfd(borrowed, FdFlags::CLOEXEC).ok()?;
    // SAFETY: the parent passed the number for this process to own, it is open,
    // and the caller asks once for each number.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Takes ownership of a descriptor that the binary before left open in this process.
///
/// `None` unless it is open and above standard error. It is closed on exec from now on.
pub(crate) fn adopt(number: RawFd) -> Option<OwnedFd> {
    if number <= 2 {
        return None;
    }
    // SAFETY: only looked at; whether it is open is what is asked.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_setfd(borrowed, FdFlags::CLOEXEC).ok()?;
    // SAFETY: it is open, nobody else in this fresh program knows the number, and the caller asks
    // once for each.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Becomes another program with the same arguments, with `variable` set, and with only `keep`
/// and standard input, output and error open. Returns what keeps it from that.
///
/// Blocked signals stay blocked and pending ones pending: none is lost in between.
pub(crate) fn become_program(
    program: &Path,
    (variable, value): (&str, &str),
    keep: &[RawFd],
) -> io::Error {
    let text = |text: OsString| CString::new(text.into_vec()).map_err(io::Error::other);
    let others = std::env::vars_os().filter(|(name, _)| name != variable);
    let pair = |(mut name, value): (OsString, OsString)| {
        name.push("=");
        name.push(value);
        text(name)
    };
    let own = std::iter::once(program.as_os_str().to_owned()).chain(std::env::args_os().skip(1));
    let arguments: io::Result<Vec<CString>> = own.map(text).collect();
    let named = std::iter::once((OsString::from(variable), OsString::from(value)));
    let environment: io::Result<Vec<CString>> = others.chain(named).map(pair).collect();
    let (arguments, environment) = match (arguments, environment) {
        (Ok(arguments), Ok(environment)) => (arguments, environment),
        (Err(error), _) | (_, Err(error)) => return error,
    };
    set_kept(keep, FdFlags::empty());
    let error = execute(&arguments, &environment);
    set_kept(keep, FdFlags::CLOEXEC);
    error
}

/// Replaces this program by the one that the first argument names; returns only on failure.
fn execute(arguments: &[CString], environment: &[CString]) -> io::Error {
    let pointers = |all: &[CString]| -> Vec<*const libc::c_char> {
        let own = all.iter().map(|one| one.as_ptr());
        own.chain([std::ptr::null()]).collect()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: both lists end with a null pointer, and they and their texts outlive the call.
    unsafe { libc::execve(arguments[0], arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

fn set_kept(numbers: &[RawFd], flags: FdFlags) {
    for number in numbers {
        // SAFETY: the caller holds them; only a flag is set.
        let borrowed = unsafe { BorrowedFd::borrow_raw(*number) };
        let _is_open = rustix::io::fcntl_setfd(borrowed, flags);
    }
}

/// Makes every descriptor above standard error close on exec.
///
/// Ours are made that way; these are what our own parent left open.
pub(crate) fn close_inherited_on_exec() -> io::Result<()> {
    let numbers: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for number in numbers.into_iter().filter(|number| *number > 2) {
        // SAFETY: only a flag is set; a number closed since then is an error and ignored.
        let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
        let _closed_meanwhile = rustix::io::fcntl_setfd(borrowed, FdFlags::CLOEXEC);
    }
    Ok(())
}

/// Directs the signals a supervisor lives by into a descriptor.
///
/// SIGHUP and SIGINT only where they are not ignored, as under `nohup` or
/// in the background of a script.
pub(crate) fn signal_descriptor() -> io::Result<OwnedFd> {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `sigemptyset` fills the set before it is read, and the pointers
    // are to live memory of the right type.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        let mut set = set.assume_init();
        for signal in [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
            let optional = signal == libc::SIGINT || signal == libc::SIGHUP;
            if !(optional && is_ignored(signal)?) {
                libc::sigaddset(&raw mut set, signal);
            }
        }
        let failed = libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        if failed != 0 {
            return Err(io::Error::from_raw_os_error(failed));
        }
        match libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(io::Error::last_os_error()),
            number => Ok(OwnedFd::from_raw_fd(number)),
        }
    }
}

fn is_ignored(signal: i32) -> io::Result<bool> {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: on success the kernel filled the structure.
    unsafe {
        match libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) {
            0 => Ok(action.assume_init().sa_sigaction == libc::SIG_IGN),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Reads the numbers of the signals that have arrived.
pub(crate) fn read_signals(descriptor: &OwnedFd) -> Vec<i32> {
    let mut buffer = [0u8; SIGNAL_INFO_BYTES * 8];
    let mut signals = Vec::new();
    while let Ok(count) = rustix::io::read(descriptor, &mut buffer) {
        for info in buffer[..count].chunks_exact(SIGNAL_INFO_BYTES) {
            // The number is the first field.
            let number = info
                .first_chunk::<4>()
                .map(|bytes| i32::from_ne_bytes(*bytes));
            signals.extend(number);
        }
        if count == 0 {
            break;
        }
    }
    signals
}

/// How many connections and packets the kernel dropped at a socket.
pub(crate) fn socket_drops(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut counters = [0u32; MEMINFO_COUNTERS];
    let mut length = size_of_val(&counters) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to the array.
    let failed = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            counters.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if failed != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(counters[MEMINFO_COUNTERS - 1])
}

/// Gives new connections of a group of sockets that share an address to `count` of them from
/// number `first` on, by chance; `None`: to all, by the kernel's own rule.
pub(crate) fn steer(socket: BorrowedFd<'_>, among: Option<(u32, u32)>) -> io::Result<()> {
    let step = |code: u32, k: u32| libc::sock_filter {
        code: u16::try_from(code).unwrap_or(0),
        jt: 0,
        jf: 0,
        k,
    };
    let random = (libc::SKF_AD_OFF + libc::SKF_AD_RANDOM).cast_unsigned();
    let mut steps = match among {
        Some((first, count)) => vec![
            step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, random),
            step(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, count.max(1)),
            step(libc::BPF_ALU | libc::BPF_ADD | libc::BPF_K, first),
            step(libc::BPF_RET | libc::BPF_A, 0),
        ],
        None => vec![step(libc::BPF_RET | libc::BPF_K, u32::MAX)],
    };
    let program = libc::sock_fprog {
        len: u16::try_from(steps.len()).unwrap_or(0),
        filter: steps.as_mut_ptr(),
    };
    // SAFETY: the kernel copies the program, whose steps outlive the call.
    let failed = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            size_of_val(&program) as libc::socklen_t,
        )
    };
    if failed != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// What a new process does between fork and exec.
#[derive(Debug, Default)]
pub(crate) struct BeforeExec {
    /// The `cgroup.procs` that it joins.
    pub(crate) cgroup: Option<OwnedFd>,
    /// Limits, in order.
    pub(crate) rlimits: Vec<(Resource, Rlimit)>,
    /// Who it becomes.
    pub(crate) identity: Option<Identity>,
    /// Descriptors that it keeps.
    pub(crate) keep: Vec<OwnedFd>,
}

/// Makes `command` begin in a session of its own and as `before` says.
pub(crate) fn set_before_exec(command: &mut Command, before: BeforeExec) {
    // SAFETY: between fork and exec only system calls are made; nothing is
    // allocated or locked. `before` is owned by the closure.
    unsafe {
        command.pre_exec(move || before.carry_out());
    }
}

impl BeforeExec {
    fn carry_out(&self) -> io::Result<()> {
        rustix::process::setsid()?;
        reset_signals()?;
        if let Some(cgroup) = &self.cgroup {
            rustix::io::write(cgroup, b"0")?;
        }
        for (resource, limit) in &self.rlimits {
            rustix::process::setrlimit(*resource, *limit)?;
        }
        if let Some(identity) = self.identity {
            // The only thread after a fork: per thread is per process.
            if rustix::process::geteuid().is_root() {
                rustix::thread::set_thread_groups(&[])?;
            }
            let gid = Gid::from_raw(identity.gid);
            let uid = Uid::from_raw(identity.uid);
            rustix::thread::set_thread_res_gid(gid, gid, gid)?;
            rustix::thread::set_thread_res_uid(uid, uid, uid)?;
        }
        for fd in &self.keep {
            rustix::io::fcntl_setfd(fd.as_fd(), FdFlags::empty())?;
        }
        Ok(())
    }
}

/// Takes back what a new process inherits: ignored signals and our mask.
fn reset_signals() -> io::Result<()> {
    let mut none = MaybeUninit::uninit();
    // SAFETY: the default action is no code of ours, and the set is filled
    // before it is read. Numbers that cannot be set are left as they are.
    let failed = unsafe {
        for signal in 1..=libc::SIGRTMAX() {
            libc::signal(signal, libc::SIG_DFL);
        }
        libc::sigemptyset(none.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut())
    };
    if failed != 0 {
        return Err(io::Error::from_raw_os_error(failed));
    }
    Ok(())
}
