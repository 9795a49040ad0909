//! What a program's connection sees.

use tokio_postgres::SimpleQueryMessage;

use crate::connection::Connection;
use crate::error::{DatabaseError, Doing as _};
use crate::url::Url;

/// What a new connection sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Where it looks by itself.
    pub search_path: String,
    /// The first schema that it finds there.
    pub schema: Option<String>,
}

/// Connects as a program does, and looks. Nothing is set, and no statement prepared: the session
/// may be one that a pool lends.
///
/// # Errors
///
/// When nobody answers, the certificate is not right, or the server or the pool refuses.
pub async fn look(url: &Url) -> Result<Look, DatabaseError> {
    let session = Connection::open_as_it_is(url, "look").await?;
    let sql = "SELECT reset_val, current_schema() FROM pg_settings WHERE name = 'search_path'";
    let messages = session.client.simple_query(sql).await;
    let messages = messages.doing("look where a connection looks")?;
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let column = |index| row.and_then(|row| row.get(index)).map(str::to_owned);
    Ok(Look {
        search_path: column(0).unwrap_or_default(),
        schema: column(1),
    })
}
