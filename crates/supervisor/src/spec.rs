//! What a child is: its key and everything needed to start it.

use std::fmt;
use std::path::PathBuf;

use crate::config::Identity;
use crate::wire::{Reader, Wire, WireError, wire_struct, wire_tag};

/// The name under which a worker starts, finds and ends one child.
///
/// One to 128 characters of `A-Z a-z 0-9 . _ : / # @ -`. A repeated spawn with
/// the same key returns the same child.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

/// A text that cannot be a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a key has 1 to {max} characters of A-Z a-z 0-9 . _ : / # @ -", max = Key::BYTES_MAX)]
pub struct KeyError;

impl Key {
    /// The longest key, in bytes.
    pub const BYTES_MAX: usize = 128;

    /// Checks and wraps a key.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if it is empty, too long or has another character.
    pub fn try_new(text: impl Into<String>) -> Result<Self, KeyError> {
        let text = text.into();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/#@-".contains(&byte);
        if text.is_empty() || text.len() > Self::BYTES_MAX || !text.bytes().all(allowed) {
            return Err(KeyError);
        }
        Ok(Self(text))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl Wire for Key {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Self::try_new(String::get(from)?).map_err(|_| WireError::Text("key"))
    }
}

/// Where a child's standard output and error go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Into two pipes that the worker takes.
    Pipes,
    /// Nowhere.
    Discard,
}
wire_tag!(Output { Pipes = 0, Discard = 1 });

/// A resource that a limit applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Open file descriptors.
    OpenFiles,
    /// Size of a core file in bytes.
    Core,
    /// Heap and private memory in bytes.
    Data,
    /// Stack in bytes.
    Stack,
    /// Processes of the user.
    Processes,
    /// CPU seconds.
    CpuSeconds,
}
wire_tag!(Resource { OpenFiles = 0, Core = 1, Data = 2, Stack = 3, Processes = 4, CpuSeconds = 5 });

/// One classic resource limit; soft and hard are set to the same value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceLimit {
    /// What is limited.
    pub resource: Resource,
    /// The most of it.
    pub max: u64,
}
wire_struct!(ResourceLimit { resource, max });

/// Limits on a child together with all its descendants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory in bytes.
    pub memory_bytes_max: Option<u64>,
    /// CPU in thousandths of one processor.
    pub cpu_millis_max: Option<u32>,
    /// Processes and threads.
    pub pids_max: Option<u32>,
}
wire_struct!(Limits {
    memory_bytes_max,
    cpu_millis_max,
    pids_max
});

/// Everything needed to start a child; nothing else is inherited.
///
/// Standard input is `/dev/null`, signals are as at boot, every other
/// descriptor is closed and the environment is exactly `env` and
/// `GAPLESS_KEY` and `GAPLESS_SERVER`.
#[derive(Clone, PartialEq, Eq)]
pub struct SpawnSpec {
    /// The program and its arguments. A program without `/` is looked up in `PATH` of `env`.
    pub argv: Vec<String>,
    /// Names and values.
    pub env: Vec<(String, String)>,
    /// The working directory.
    pub cwd: PathBuf,
    /// Who runs it; the worker's own user when absent.
    pub identity: Option<Identity>,
    /// Classic limits of the process.
    pub rlimits: Vec<ResourceLimit>,
    /// Limits of the process and its descendants.
    pub limits: Limits,
    /// Where its output goes.
    pub output: Output,
}
wire_struct!(SpawnSpec {
    argv,
    env,
    cwd,
    identity,
    rlimits,
    limits,
    output
});

impl fmt::Debug for SpawnSpec {
    /// Shows the names of the environment only: values may be secrets.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.env.iter().map(|(name, _)| name).collect();
        out.debug_struct("SpawnSpec")
            .field("argv", &self.argv)
            .field("env", &names)
            .field("cwd", &self.cwd)
            .field("identity", &self.identity)
            .field("rlimits", &self.rlimits)
            .field("limits", &self.limits)
            .field("output", &self.output)
            .finish()
    }
}
