//! The same program for those that speak HTTP/2, with a stream as gRPC has them.

use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderValue, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{App, suffer};

/// A message of one byte, with what stands before it.
const MESSAGE: &[u8] = b"\0\0\0\0\x01.";

/// Serves a connection to its end.
pub(super) async fn serve<S>(stream: S, app: App) -> Result<(), h2::Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted?;
        let app = app.clone();
        tokio::spawn(async move {
            // An error here is a client that left.
            let _ = answer(app, request, respond).await;
        });
    }
    Ok(())
}

async fn answer(
    app: App,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let path = request.uri().path().to_owned();
    suffer(app.fault, &path).await;
    let mut head = Response::new(());
    if let Ok(release) = HeaderValue::from_str(&app.release) {
        head.headers_mut().insert("x-release", release);
    }
    if path == "/load.Stream/Watch" {
        let kind = HeaderValue::from_static("application/grpc");
        head.headers_mut().insert("content-type", kind);
        let mut send = respond.send_response(head, false)?;
        loop {
            send.send_data(Bytes::from_static(MESSAGE), false)?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let mut body = request.into_body();
    let mut bytes = 0;
    while let Some(data) = body.data().await {
        let data = data?;
        bytes += data.len();
        body.flow_control().release_capacity(data.len())?;
    }
    let text = match path.as_str() {
        "/healthz" => "ok\n".to_owned(),
        _ => format!("{} received {bytes} bytes\n", app.release),
    };
    // The client this program is for wants to be told the length.
    head.headers_mut()
        .insert("content-length", HeaderValue::from(text.len()));
    respond
        .send_response(head, false)?
        .send_data(text.into(), true)
}
