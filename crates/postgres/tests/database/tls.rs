//! TLS to the database means what libpq says it means.

use std::path::Path;
use std::process::Command;

use postgres::{Connection, Url};
use stage::Cluster;

fn openssl(folder: &Path, args: &str) {
    let output = Command::new("openssl")
        .args(args.split(' '))
        .current_dir(folder)
        .output();
    let output = output.unwrap();
    assert!(
        output.status.success(),
        "{args}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// An authority, `localhost`'s certificate by it, and an authority that knows nobody.
fn certificates(folder: &Path) {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    for name in ["ca", "other"] {
        openssl(
            folder,
            &format!("req -x509 {key} -keyout {name}.key -out {name}.pem -subj /CN={name}"),
        );
    }
    let key = key.trim_end_matches(" -days 2");
    openssl(
        folder,
        &format!("req {key} -keyout server.key -out server.csr -subj /CN=server"),
    );
    std::fs::write(folder.join("names"), "subjectAltName=DNS:localhost\n").unwrap();
    let sign = "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile names";
    openssl(folder, sign);
}

/// Whether the session is encrypted, or why there is none.
async fn encrypted(url: &str) -> Result<bool, String> {
    let url = Url::parse(url).map_err(|error| error.to_string())?;
    let connection = Connection::open(&url, "test").await;
    let mut connection = connection.map_err(|error| error.to_string())?;
    let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    Ok(connection
        .client()
        .query_one(sql, &[])
        .await
        .unwrap()
        .get(0))
}

#[tokio::test]
async fn each_mode_asks_for_what_it_says() {
    if let Err(reason) = Cluster::installed() {
        eprintln!("skipped: {reason}");
        return;
    }
    if Command::new("openssl").arg("version").output().is_err() {
        eprintln!("skipped: openssl, which makes the certificates, is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let settings = "ssl = on\nssl_cert_file = 'server.pem'\nssl_key_file = 'server.key'";
    let files = [
        ("server.pem", &*read("server.pem")),
        ("server.key", &*read("server.key")),
    ];
    let cluster = Cluster::start(settings, &files).unwrap();
    let root = |name: &str| {
        folder
            .path()
            .join(name)
            .display()
            .to_string()
            .replace('/', "%2F")
    };
    let (ca, other) = (root("ca.pem"), root("other.pem"));
    let url = |host: &str, query: &str| {
        format!(
            "postgresql://postgres@{host}:{}/postgres?{query}",
            cluster.port()
        )
    };
    for (host, query) in [
        ("localhost", format!("sslmode=verify-full&sslrootcert={ca}")),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={ca}")),
        ("127.0.0.1", format!("sslmode=require&sslrootcert={ca}")),
        ("127.0.0.1", "sslmode=require".to_owned()),
        ("127.0.0.1", String::new()),
    ] {
        assert_eq!(
            encrypted(&url(host, &query)).await,
            Ok(true),
            "{host} {query}"
        );
    }
    assert_eq!(
        encrypted(&url("127.0.0.1", "sslmode=disable")).await,
        Ok(false)
    );
    for (host, query) in [
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={ca}")),
        (
            "localhost",
            format!("sslmode=verify-full&sslrootcert={other}"),
        ),
        (
            "localhost",
            format!("sslmode=verify-ca&sslrootcert={other}"),
        ),
        ("localhost", format!("sslmode=require&sslrootcert={other}")),
    ] {
        let refused = encrypted(&url(host, &query)).await.unwrap_err();
        assert!(refused.contains("certificate"), "{host} {query}: {refused}");
    }
}
