//! Bodies that come or go piece by piece.

use std::convert::Infallible;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;

/// Pieces that may wait to be sent.
const PIECES_MAX: usize = 16;

/// A body whose pieces come from a task.
pub(crate) struct Pieces<E = Infallible>(mpsc::Receiver<Result<Bytes, E>>);

/// A body, and where its pieces are put. It ends when the sender is dropped.
pub(crate) fn pieces<E>() -> (mpsc::Sender<Result<Bytes, E>>, Pieces<E>) {
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    (sender, Pieces(receiver))
}

impl<E> Body for Pieces<E> {
    type Data = Bytes;
    type Error = E;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        self.0
            .poll_recv(context)
            .map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

/// A body as a reader for a thread that may block; the returned future feeds it.
pub(crate) fn reader(body: axum::body::Body) -> (impl Future<Output = ()>, Reader) {
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    let feed = async move {
        let mut body = body;
        while let Some(frame) = body.frame().await {
            let piece = match frame {
                Ok(frame) => match frame.into_data() {
                    Ok(data) => Ok(data),
                    // Trailers say nothing here.
                    Err(_) => continue,
                },
                Err(error) => Err(io::Error::other(error)),
            };
            let failed = piece.is_err();
            if sender.send(piece).await.is_err() || failed {
                return;
            }
        }
    };
    let reader = Reader {
        pieces: receiver,
        piece: Bytes::new(),
    };
    (feed, reader)
}

/// Reads what a body brings. Blocks.
pub(crate) struct Reader {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Read for Reader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let count = self.piece.len().min(into.len());
        self.piece.copy_to_slice(&mut into[..count]);
        Ok(count)
    }
}
