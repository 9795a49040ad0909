//! Requests as streams of one connection of HTTP/2.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::Reason;
use h2::client::SendRequest;
use http::{Request, Response};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use crate::exchange::{Answer, Failure};

/// The connection that streams are begun on at the moment.
#[derive(Default)]
pub(crate) struct Calls(Mutex<Option<SendRequest<Bytes>>>);

impl Calls {
    /// A connection that takes streams: a new one once the other side has ended the last, as
    /// any client does before it sends.
    async fn connection(&self, address: SocketAddr) -> Result<SendRequest<Bytes>, Failure> {
        let mut kept = self.0.lock().await;
        if let Some(send) = kept.as_mut()
            && !matches!(
                send.poll_ready(&mut Context::from_waker(Waker::noop())),
                Poll::Ready(Err(_))
            )
        {
            return Ok(send.clone());
        }
        let (send, driving) = connect(address).await.map_err(|_| Failure::Refused)?;
        tokio::task::spawn_local(driving);
        *kept = Some(send.clone());
        Ok(send)
    }

    /// Sends one request and reads its whole response.
    pub(crate) async fn call(
        &self,
        address: SocketAddr,
        (host, path): (&str, &str),
    ) -> Result<Answer, Failure> {
        let request = Request::get(format!("http://{host}{path}"));
        let request = request.body(()).map_err(|_| Failure::Malformed)?;
        let mut send = self.connection(address).await?;
        poll_fn(|context| send.poll_ready(context))
            .await
            .map_err(before_response)?;
        let (response, _) = send.send_request(request, true).map_err(before_response)?;
        let (head, mut body) = response.await.map_err(before_response)?.into_parts();
        while let Some(data) = body.data().await {
            let data = data.map_err(|_| Failure::Truncated)?;
            // A stream that is gone needs no more room.
            let _ = body.flow_control().release_capacity(data.len());
        }
        body.trailers().await.map_err(|_| Failure::Truncated)?;
        Ok(answer(&Response::from_parts(head, ())))
    }
}

/// Makes a connection. The second is its work, to be done beside everything else.
pub(crate) async fn connect(
    address: SocketAddr,
) -> Result<(SendRequest<Bytes>, impl Future<Output = ()> + Send), h2::Error> {
    let stream = TcpStream::connect(address).await.map_err(refused)?;
    // Small requests must not wait for an acknowledgement; a failure only delays them.
    let _ = stream.set_nodelay(true);
    let (send, connection) = h2::client::handshake(stream).await?;
    let driving = async {
        let _seen_by_the_streams = connection.await;
    };
    Ok((send, driving))
}

fn refused(_: std::io::Error) -> h2::Error {
    Reason::CONNECT_ERROR.into()
}

fn before_response(error: h2::Error) -> Failure {
    let is_refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    if error.is_remote() && (is_refused || error.is_go_away()) {
        Failure::Unread
    } else {
        Failure::Closed
    }
}

fn answer(response: &Response<()>) -> Answer {
    let find = |name: &str| {
        let value = response.headers().get(name)?;
        value.to_str().ok().map(str::to_owned)
    };
    Answer {
        status: response.status().as_u16(),
        release: find("x-release"),
        proxy_error: find("x-gapless-error"),
        keep: true,
    }
}
