//! Sending what a thread writes.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

use crate::body::{Pieces, pieces};

/// Bytes sent at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// Takes what is to be sent.
#[derive(Debug)]
pub struct Chunks {
    buffer: BytesMut,
    sender: mpsc::Sender<io::Result<Bytes>>,
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = self.buffer.split().freeze();
        // The server has answered already, or is gone: its answer says why.
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.sender.blocking_send(Ok(chunk)).map_err(gone)
    }
}

/// Why what was to be sent could not be read, if it could not.
#[derive(Debug, Clone, Default)]
pub(super) struct Failed(Arc<Mutex<Option<io::Error>>>);

impl Failed {
    pub(super) fn source(&self) -> Option<io::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, error: io::Error) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

/// Begins to write, in a thread of its own.
pub(super) fn begin(
    write: impl FnOnce(&mut Chunks) -> io::Result<()> + Send + 'static,
) -> (Pieces<io::Error>, Failed) {
    let (sender, body) = pieces();
    let failed = Failed::default();
    let tells = failed.clone();
    std::thread::spawn(move || {
        let mut chunks = Chunks {
            buffer: BytesMut::with_capacity(CHUNK_BYTES),
            sender: sender.clone(),
        };
        match write(&mut chunks).and_then(|()| chunks.flush()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(error) => {
                tells.set(error);
                // The body must not end as if it were whole.
                let broken = io::Error::from(io::ErrorKind::UnexpectedEof);
                let _ = sender.blocking_send(Err(broken));
            }
        }
    });
    (body, failed)
}
