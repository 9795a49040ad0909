//! One connection to a TCP service: it must be told the release, and get back what it says.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::Failure;

/// Between the two halves of what is said, so that connections are open when something happens.
const PAUSE: Duration = Duration::from_millis(40);

/// Says `bytes` bytes, and returns the release that said exactly these back before it ended in
/// order.
pub(crate) async fn talk(stream: TcpStream, bytes: usize, seed: u64) -> Result<String, Failure> {
    let mut stream = BufReader::new(stream);
    let mut release = String::new();
    match stream.read_line(&mut release).await {
        Ok(0) => return Err(Failure::Closed),
        Ok(_) if !release.ends_with('\n') => return Err(Failure::Truncated),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Err(Failure::Reset),
        Err(_) => return Err(Failure::Closed),
    }
    let said = noise(bytes, seed);
    let heard = hear(&mut stream, &said).await;
    if heard.map_err(|_| Failure::Truncated)? != said {
        return Err(Failure::Malformed);
    }
    Ok(release.trim_end().to_owned())
}

async fn hear(stream: &mut BufReader<TcpStream>, said: &[u8]) -> io::Result<Vec<u8>> {
    let (first, second) = said.split_at(said.len() / 2);
    let (reader, mut writer) = tokio::io::split(stream);
    let mut reader = reader.take(said.len() as u64 + 1);
    let telling = async {
        writer.write_all(first).await?;
        tokio::time::sleep(PAUSE).await;
        writer.write_all(second).await?;
        writer.shutdown().await
    };
    let mut heard = Vec::with_capacity(said.len());
    let (told, read) = tokio::join!(telling, reader.read_to_end(&mut heard));
    told?;
    read?;
    if heard.len() < said.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(heard)
}

/// Bytes that are nowhere the same for long.
fn noise(count: usize, mut seed: u64) -> Vec<u8> {
    let mut next = || {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 56) as u8
    };
    (0..count).map(|_| next()).collect()
}
