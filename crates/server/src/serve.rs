//! Listening.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use control::Handle;
use tokio::net::UnixListener;

use crate::SOCKET;
use crate::peer::{Listening, Peer};
use crate::place::Place;
use crate::routes;

/// Makes the socket of a state directory.
///
/// It replaces that of a worker before in one step, so that there always is one; whoever
/// connects waits until [`serve`] is awaited.
///
/// # Errors
///
/// When the socket cannot be made.
pub fn bind(state: &Path) -> io::Result<UnixListener> {
    let name = format!("{SOCKET}.{}", std::process::id());
    let place = Place::of(state, name.len())?;
    let fresh = place.join(&name);
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) | Ok(()) => {}
    }
    let listener = UnixListener::bind(&fresh)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600))?;
    fs::rename(&fresh, place.join(SOCKET))?;
    Ok(listener)
}

/// Serves the API of `control` until the future is dropped.
///
/// # Errors
///
/// Never by itself: a connection that cannot be accepted is tried again.
pub async fn serve(socket: UnixListener, control: Handle) -> io::Result<()> {
    let service = routes::router(control).into_make_service_with_connect_info::<Peer>();
    axum::serve(Listening(socket), service).await
}
