//! What can be known to fail is said before anything is begun.

use std::collections::BTreeSet;

use migration::plan::{Backfill, LockLevel, NoteLevel, Plan, TriggerEffect};
use migration::schema::Qualified;
use tokio_postgres::Client;

use crate::error::{DatabaseError, Doing as _};
use crate::name::{qualified, quoted};
use crate::settings::{Consent, Settings};

/// Looks at privileges, and at triggers that a backfill would fire.
pub(super) async fn check(
    client: &Client,
    plan: &Plan,
    settings: &Settings,
) -> Result<(), DatabaseError> {
    free(client, plan).await?;
    let missing = missing(client, plan).await?;
    if !missing.is_empty() {
        return Err(DatabaseError::Privileges { missing });
    }
    let silence = crate::backfill::may_silence(client).await?;
    let mut asks: Vec<String> = plan
        .notes
        .iter()
        .filter(|note| note.level == NoteLevel::Ask)
        .map(|note| note.text.clone())
        .collect();
    for backfill in &plan.backfill {
        let firing = firing(backfill, silence);
        if !firing.is_empty() {
            asks.push(format!(
                "filling in rows of {} fires {} for each of them, and what they do stays",
                backfill.table,
                firing.join(", ")
            ));
        }
    }
    let hidden = crate::backfill::hidden(client).await?;
    if hidden > 0 && !plan.backfill.is_empty() {
        asks.push(format!(
            "the role may not see how far {hidden} replicas are behind, and will not wait for them: {}",
            see_replicas(client).await?
        ));
    }
    if !asks.is_empty() && settings.consent == Consent::Ask {
        return Err(DatabaseError::Asks { asks });
    }
    Ok(())
}

/// A schema that has the version's name already is somebody else's, and so is what lies in it.
async fn free(client: &Client, plan: &Plan) -> Result<(), DatabaseError> {
    let name = &plan.version.name;
    let sql = "SELECT FROM pg_namespace WHERE nspname = $1";
    let there = client.query_opt(sql, &[name]).await;
    match there.doing("look for the version's schema")? {
        None => Ok(()),
        Some(_) => Err(DatabaseError::history(format!(
            "there is a schema `{name}` already, and no change made it: drop or rename it, or \
             name another by `version_schema` in the migration"
        ))),
    }
}

async fn see_replicas(client: &Client) -> Result<String, DatabaseError> {
    let row = client.query_one("SELECT current_user::text", &[]).await;
    let role: String = row.doing("look at privileges")?.get(0);
    Ok(format!("GRANT pg_read_all_stats TO {}", quoted(&role)))
}

/// The triggers whose effects would stay.
fn firing(backfill: &Backfill, silence: bool) -> Vec<String> {
    let stays = backfill
        .triggers
        .iter()
        .filter(|trigger| match trigger.effect {
            TriggerEffect::Undone => false,
            TriggerEffect::Fires => !silence,
            TriggerEffect::FiresAlways => true,
        });
    stays.map(|trigger| trigger.name.clone()).collect()
}

async fn missing(client: &Client, plan: &Plan) -> Result<Vec<String>, DatabaseError> {
    let mut missing = Vec::new();
    let looking = "look at privileges";
    let base = &plan.version.base;
    let row = client
        .query_one(
            "SELECT current_user::text, current_database()::text,
                has_database_privilege(current_database(), 'CREATE'),
                coalesce((SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = $1), true)",
            &[base],
        )
        .await
        .doing(looking)?;
    let (role, database): (String, String) = (row.get(0), row.get(1));
    let role = quoted(&role);
    if !row.get::<_, bool>(2) {
        missing.push(format!(
            "GRANT CREATE ON DATABASE {} TO {role}",
            quoted(&database)
        ));
    }
    if !row.get::<_, bool>(3) {
        missing.push(format!("GRANT CREATE ON SCHEMA {} TO {role}", quoted(base)));
    }
    for table in altered(plan) {
        let row = client
            .query_opt(
                "SELECT pg_get_userbyid(c.relowner)::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE n.nspname = $1 AND c.relname = $2 AND NOT pg_has_role(c.relowner, 'USAGE')",
                &[&table.schema, &table.name],
            )
            .await
            .doing(looking)?;
        if let Some(row) = row {
            let owner: String = row.get(0);
            missing.push(format!(
                "GRANT {} TO {role} (the owner of {table})",
                quoted(&owner)
            ));
        }
    }
    for backfill in &plan.backfill {
        let row = client
            .query_opt(
                "SELECT FROM pg_class c, pg_roles r WHERE c.oid = to_regclass($1) AND c.relrowsecurity
                 AND c.relforcerowsecurity AND r.rolname = current_user AND NOT r.rolsuper AND NOT r.rolbypassrls",
                &[&qualified(&backfill.table)],
            )
            .await
            .doing(looking)?;
        if row.is_some() {
            missing.push(format!(
                "ALTER ROLE {role} BYPASSRLS (policies of {} hide rows from their owner)",
                backfill.table
            ));
        }
    }
    missing.dedup();
    Ok(missing)
}

/// The tables that only their owner may change as the plan does.
fn altered(plan: &Plan) -> BTreeSet<Qualified> {
    let parts = [&plan.expand, &plan.publish, &plan.contract];
    let locks = parts.into_iter().flatten().flat_map(|step| &step.locks);
    let strong = locks.filter(|lock| lock.level == LockLevel::AccessExclusive);
    strong.map(|lock| lock.table.clone()).collect()
}
