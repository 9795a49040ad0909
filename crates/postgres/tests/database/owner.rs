//! Two servers never look after the changes of one schema.

use postgres::Owner;

use crate::script::runner;
use crate::stand::Database;

fn owner(server: &str, database: &str) -> Owner {
    Owner {
        server: server.to_owned(),
        database: database.to_owned(),
        place: format!("/var/lib/{server}"),
    }
}

#[tokio::test]
async fn another_server_or_another_name_is_refused_until_the_first_lets_go() {
    let Some(database) = Database::new() else {
        return;
    };
    let runner = runner(&database).await;
    let (first, other) = (owner("first", "main"), owner("other", "main"));
    runner.claim("public", &first).await.unwrap();
    runner.claim("public", &first).await.unwrap();
    let said = runner
        .claim("public", &other)
        .await
        .unwrap_err()
        .to_string();
    let who =
        "the schema `public` is looked after by another server (/var/lib/first) as `main` since 2";
    assert!(said.starts_with(who), "{said}");
    let renamed = owner("first", "shop");
    let said = runner.claim("public", &renamed).await.unwrap_err();
    assert!(
        said.to_string().contains("by this server as `main`"),
        "{said}"
    );
    assert!(!said.may_pass());
    // Another schema of the same database is another matter.
    runner.claim("shop", &other).await.unwrap();
    let was = runner.disown("public").await.unwrap();
    assert_eq!(was.as_deref(), Some("/var/lib/first as `main`"));
    assert_eq!(runner.disown("public").await.unwrap(), None);
    runner.claim("public", &other).await.unwrap();
    runner.claim("public", &first).await.unwrap_err();
}
