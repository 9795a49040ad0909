//! The program without HTTP: it says which release it is, then says back what it is told.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{App, Fault, crash_soon};

/// Serves one connection to its end.
pub(super) async fn serve(app: App, mut stream: TcpStream) -> io::Result<()> {
    static SERVED: AtomicU64 = AtomicU64::new(0);
    let number = SERVED.fetch_add(1, Ordering::Relaxed);
    match app.fault {
        Fault::None | Fault::Errors | Fault::Differ => {}
        Fault::Latency => tokio::time::sleep(Duration::from_millis(400)).await,
        Fault::Hang => std::future::pending().await,
        Fault::Crash => crash_soon(),
    }
    stream
        .write_all(format!("{}\n", app.release).as_bytes())
        .await?;
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        if app.fault == Fault::Errors && number.is_multiple_of(3) {
            return stream.set_zero_linger();
        }
        stream.write_all(&buffer[..count]).await?;
    }
}
