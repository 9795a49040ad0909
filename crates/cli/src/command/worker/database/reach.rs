//! How programs find the version that they were made for, where their URL alone does not say.

use control::{Again, DatabaseFailed, Site, database_url, search_path};
use model::{SchemaVersion, SearchPath};
use postgres::{DatabaseError, Login, Look, Runner, Url, look};

use super::failed;

/// Where connections of programs look by themselves.
pub(super) async fn own_path(site: &Site, runner: &Runner) -> Result<String, DatabaseFailed> {
    match site.policy.migrate_url {
        None => runner.own_search_path().await.map_err(failed),
        Some(_) => {
            let url = Url::parse(site.program_url.expose()).map_err(failed)?;
            Ok(look(&url).await.map_err(failed)?.search_path)
        }
    }
}

/// Makes what leads programs to a version, or proves that it is there.
pub(super) async fn make(
    site: &Site,
    (runner, own): (&mut Runner, &str),
    version: &SchemaVersion,
) -> Result<(), DatabaseFailed> {
    let path = search_path::of(&version.schema, own);
    match site.search_path {
        SearchPath::Url | SearchPath::Pgoptions => Ok(()),
        SearchPath::Alias => prove_alias(site, &path, version).await,
        SearchPath::Role => make_role(site, (runner, &path), version).await,
    }
}

/// The pool is somebody else's: it leads there, or it is said what it lacks.
async fn prove_alias(
    site: &Site,
    path: &str,
    version: &SchemaVersion,
) -> Result<(), DatabaseFailed> {
    let url = site.program_url.expose();
    let alias = database_url::alias(url, &version.schema);
    let database = database_url::database(url);
    let there = Url::parse(&database_url::in_alias(url, &version.schema)).map_err(failed)?;
    // Where sessions are reset between clients, what a pool set once is gone for the second.
    for _ in 0..2 {
        let reason = match look(&there).await {
            Ok(Look { schema, .. }) if schema.as_ref() == Some(&version.schema) => continue,
            Ok(Look { schema, .. }) => format!(
                "leads to the schema `{}`",
                schema.as_deref().unwrap_or("of nobody")
            ),
            Err(error @ (DatabaseError::Connect { .. } | DatabaseError::Sql { .. })) => {
                format!("is not there: {error}")
            }
            Err(error) => return Err(failed(error)),
        };
        let query = format!("SET search_path = {path}").replace('\'', "''");
        return Err(DatabaseFailed {
            reason: format!(
                "`search_path = \"alias\"`: the pool's database `{alias}` {reason}; as PgBouncer wants it, below \
                 [databases], with the rest as for `{database}`, and pool_mode = transaction: \
                 {alias} = dbname={database} connect_query='{query}'; then RELOAD, and deploy again"
            ),
            again: Again::Never,
        });
    }
    Ok(())
}

async fn make_role(
    site: &Site,
    (runner, path): (&mut Runner, &str),
    version: &SchemaVersion,
) -> Result<(), DatabaseFailed> {
    let never = |reason: String| DatabaseFailed {
        reason,
        again: Again::Never,
    };
    let url = site.program_url.expose();
    let its = database_url::version_login(url, &version.schema).map_err(never)?;
    let login = Login {
        base: &its.base,
        role: &its.role,
        password: &its.password,
        search_path: path,
        version: (&site.schema, &version.migration),
    };
    runner.login(&login).await.map_err(failed)?;
    let there = database_url::with_login(url, (&its.role, &its.password));
    let seen = look(&Url::parse(&there).map_err(failed)?).await;
    let reason = match seen {
        Ok(Look { schema, .. }) if schema.as_ref() == Some(&version.schema) => return Ok(()),
        Ok(Look { schema, .. }) => format!("finds the schema {schema:?}"),
        Err(error) if error.may_pass() => return Err(failed(error)),
        Err(error) => format!("cannot log in: {error}"),
    };
    Err(never(format!(
        "`search_path = \"role\"`: the role `{}` of version `{}` {reason}; let it in (pg_hba.conf, a pool's list of \
         users) as `{}` is, and deploy again",
        its.role, version.migration, its.base
    )))
}
