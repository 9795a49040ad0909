//! Roles of versions' own: who logs in as one has the rights of the programs' role, and sees one
//! version.

use postgres_protocol::password::scram_sha_256;
use tokio_postgres::{Client, Transaction};

use crate::error::{DatabaseError, Doing as _};
use crate::name::quoted;
use crate::run::Runner;

/// The role of a version.
pub struct Login<'a> {
    /// The programs' role, whose rights it has.
    pub base: &'a str,
    /// Its name.
    pub role: &'a str,
    /// Its password; the server is only told what it needs to check it.
    pub password: &'a str,
    /// Where its sessions look, as SQL.
    pub search_path: &'a str,
    /// The schema of the tables, and the migration that makes the version.
    pub version: (&'a str, &'a str),
}

const TABLE: &str = "
CREATE TABLE IF NOT EXISTS gapless.login (
    role text PRIMARY KEY,
    base text NOT NULL,
    version text NOT NULL
)";

/// Of lists each element has its quotes already.
const LISTS: [&str; 4] = [
    "temp_tablespaces",
    "session_preload_libraries",
    "local_preload_libraries",
    "shared_preload_libraries",
];

impl Runner {
    /// Makes the role of a version, or makes it what it should be.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Privileges`] when roles cannot be made here, with what is needed; when
    /// somebody else has a role of that name.
    pub async fn login(&mut self, login: &Login<'_>) -> Result<(), DatabaseError> {
        let client = &mut self.connection.client;
        check(client, login.base).await?;
        let making = format!("make the role `{}`", login.role);
        let transaction = client.transaction().await.doing(&making)?;
        transaction.batch_execute(TABLE).await.doing(&making)?;
        for sql in statements(&transaction, login).await? {
            transaction.batch_execute(&sql).await.doing(&making)?;
        }
        let (base, version) = login.version;
        let sql = "INSERT INTO gapless.login (role, base, version) VALUES ($1, $2, $3)
            ON CONFLICT (role) DO NOTHING";
        let written = transaction
            .execute(sql, &[&login.role, &base, &version])
            .await;
        written.doing(&making)?;
        transaction.commit().await.doing(&making)
    }

    /// Removes the roles of versions that nobody needs any more. One that cannot be removed now is
    /// left for the next time.
    pub(crate) async fn remove_logins(
        &mut self,
        base: &str,
        is_gone: impl Fn(&str) -> bool,
    ) -> Result<(), DatabaseError> {
        let client = &self.connection.client;
        let looking = "look for the roles of versions";
        let there = client.query_one("SELECT to_regclass('gapless.login') IS NOT NULL", &[]);
        if !there.await.doing(looking)?.get::<_, bool>(0) {
            return Ok(());
        }
        let sql = "SELECT role, version FROM gapless.login WHERE base = $1";
        let rows = client.query(sql, &[&base]).await.doing(looking)?;
        for row in rows.iter().filter(|row| is_gone(row.get(1))) {
            let role: String = row.get(0);
            let sql = format!("DROP ROLE IF EXISTS {}", quoted(&role));
            if client.batch_execute(&sql).await.is_ok() {
                let sql = "DELETE FROM gapless.login WHERE role = $1";
                client.execute(sql, &[&role]).await.doing(looking)?;
            }
        }
        Ok(())
    }
}

/// Says what is missing before anything is made.
async fn check(client: &Client, base: &str) -> Result<(), DatabaseError> {
    const ADMIN_NEEDED_SINCE: i32 = 160_000;
    let sql = "SELECT m.rolname::text, m.rolsuper, m.rolcreaterole,
            current_setting('server_version_num')::int, b.rolsuper,
            pg_has_role(m.oid, b.oid, 'MEMBER WITH ADMIN OPTION')
        FROM pg_roles m, pg_roles b WHERE m.rolname = current_user AND b.rolname = $1";
    let row = client.query_opt(sql, &[&base]).await;
    let Some(row) = row.doing("look at privileges")? else {
        return Err(DatabaseError::history(format!("there is no role `{base}`")));
    };
    let (me, superuser): (String, bool) = (row.get(0), row.get(1));
    if superuser {
        return Ok(());
    }
    let mut missing = Vec::new();
    if !row.get::<_, bool>(2) {
        missing.push(format!("ALTER ROLE {} CREATEROLE", quoted(&me)));
    }
    if row.get::<_, bool>(4) {
        missing.push(format!("ALTER ROLE {} NOSUPERUSER", quoted(base)));
    }
    let admin_needed = row.get::<_, i32>(3) >= ADMIN_NEEDED_SINCE;
    if admin_needed && me == base {
        missing.push(format!(
            "another role for migrations (`migrate_url`) that may make roles, and GRANT {} TO it WITH ADMIN OPTION",
            quoted(base)
        ));
    } else if admin_needed && !row.get::<_, bool>(5) {
        let (base, me) = (quoted(base), quoted(&me));
        missing.push(format!("GRANT {base} TO {me} WITH ADMIN OPTION"));
    }
    match missing.is_empty() {
        true => Ok(()),
        false => Err(DatabaseError::Privileges { missing }),
    }
}

async fn statements(
    transaction: &Transaction<'_>,
    login: &Login<'_>,
) -> Result<Vec<String>, DatabaseError> {
    let looking = "look for the role";
    let sql = "SELECT current_database()::text,
            EXISTS (SELECT FROM pg_roles WHERE rolname = $1),
            EXISTS (SELECT FROM gapless.login WHERE role = $1)";
    let row = transaction.query_one(sql, &[&login.role]).await;
    let row = row.doing(looking)?;
    let (database, exists, ours): (String, bool, bool) = (row.get(0), row.get(1), row.get(2));
    if exists && !ours {
        return Err(DatabaseError::history(format!(
            "there is a role `{}` already, and no change made it: drop or rename it",
            login.role
        )));
    }
    let (role, base) = (quoted(login.role), quoted(login.base));
    let known = scram_sha_256(login.password.as_bytes());
    let place = format!("ALTER ROLE {role} IN DATABASE {}", quoted(&database));
    let mut all = Vec::new();
    if !exists {
        all.push(format!("CREATE ROLE {role}"));
    }
    all.push(format!(
        "ALTER ROLE {role} LOGIN INHERIT PASSWORD '{known}'"
    ));
    all.push(format!("GRANT {base} TO {role}"));
    all.push(format!("{place} RESET ALL"));
    for setting in settings(transaction, login.base).await? {
        all.push(format!("{place} SET {setting}"));
    }
    all.push(format!("{place} SET search_path = {}", login.search_path));
    // What its sessions make belongs to the programs' role, and policies see that one.
    all.push(format!("{place} SET role = {base}"));
    Ok(all)
}

/// What the programs' role has set for its sessions: members do not inherit it.
async fn settings(transaction: &Transaction<'_>, base: &str) -> Result<Vec<String>, DatabaseError> {
    let sql = "SELECT unnest(s.setconfig) FROM pg_db_role_setting s
            JOIN pg_roles r ON r.oid = s.setrole LEFT JOIN pg_database d ON d.oid = s.setdatabase
        WHERE r.rolname = $1 AND (s.setdatabase = 0 OR d.datname = current_database())
        ORDER BY s.setdatabase";
    let rows = transaction.query(sql, &[&base]).await;
    let rows = rows.doing("see what is set for the role")?;
    let texts: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let pairs = texts.iter().filter_map(|text| text.split_once('='));
    let own = pairs.filter(|(name, _)| !["search_path", "role"].contains(name));
    let settings = own.map(|(name, value)| {
        let name = name.split('.').map(quoted).collect::<Vec<_>>().join(".");
        match LISTS.iter().any(|list| name.trim_matches('"') == *list) {
            true => format!("{name} = {value}"),
            false => format!("{name} = '{}'", value.replace('\'', "''")),
        }
    });
    Ok(settings.collect())
}
