//! A program with a database, deployed by the tests: each request is a row that it writes and
//! reads back, the way its release knows the table.

use std::cell::Cell;
use std::rc::Rc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls};

/// How the program is started, as the `run` of a service.
pub(crate) const RUN: &str = r#"run = "./tenant tenant::serves --exact --ignored --nocapture""#;

/// Not a test of its own: this binary is the program, and this is what it does.
#[test]
#[ignore = "the program that other tests deploy"]
fn serves() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, run());
}

async fn run() {
    let of = |name: &str| std::env::var(name).unwrap();
    let column = of("COLUMN");
    let (client, connection) = tokio_postgres::connect(&of("DATABASE_URL"), NoTls)
        .await
        .unwrap();
    tokio::task::spawn_local(connection);
    let instance = of("GAPLESS_INSTANCE");
    let shared = Rc::new(Shared {
        insert: format!("INSERT INTO notes ({column}, writer) VALUES ($1, $2) RETURNING id"),
        read: format!("SELECT {column} FROM notes WHERE id = $1"),
        client,
        instance,
        count: Cell::new(0),
    });
    let port: u16 = of("PORT").parse().unwrap();
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let shared = Rc::clone(&shared);
        tokio::task::spawn_local(async move {
            // A client that goes away is no concern of ours.
            let _ = serve(stream, &shared).await;
        });
    }
}

struct Shared {
    insert: String,
    read: String,
    client: Client,
    instance: String,
    count: Cell<u64>,
}

async fn serve(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut head = Vec::new();
    loop {
        while !head.ends_with(b"\r\n\r\n") {
            let mut bytes = [0; 2_048];
            let read = stream.read(&mut bytes).await?;
            if read == 0 {
                return Ok(());
            }
            head.extend_from_slice(&bytes[..read]);
        }
        let (status, body) = if head.starts_with(b"GET /healthz") {
            ("200 OK", "well".to_owned())
        } else {
            match write(shared).await {
                Ok(text) => ("200 OK", text),
                Err(error) => ("500 Internal Server Error", error),
            }
        };
        head.clear();
        let release = &shared.instance;
        let answer = format!(
            "HTTP/1.1 {status}\r\nX-Release: {release}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await?;
    }
}

/// Writes a row and reads it back.
async fn write(shared: &Shared) -> Result<String, String> {
    let number = shared.count.get();
    shared.count.set(number + 1);
    let text = format!("{}/{number}", shared.instance);
    let client = &shared.client;
    let told = |error: tokio_postgres::Error| format!("{error:?}");
    // No statement is prepared: between two, a pool may lend the session to a stranger.
    let params: [(&(dyn ToSql + Sync), Type); 2] =
        [(&text, Type::TEXT), (&shared.instance, Type::TEXT)];
    let row = client.query_typed_one(&shared.insert, &params).await;
    let id: i64 = row.map_err(told)?.get(0);
    let row = client
        .query_typed_one(&shared.read, &[(&id, Type::INT8)])
        .await;
    let row = row.map_err(told)?;
    let seen: String = row.get(0);
    match seen == text {
        true => Ok(text),
        false => Err(format!("`{seen}` was read instead of `{text}`")),
    }
}
