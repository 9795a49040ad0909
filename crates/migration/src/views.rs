//! The schema of a version: a view of each table, with the names that the version knows.

use crate::column;
use crate::draft::Draft;
use crate::plan::{Cost, LockLevel, Note, NoteLevel, Run, Step};
use crate::rule::dollar_quoted;
use crate::schema::{Grant, Qualified, RowSecurity};
use crate::sql::{literal, quote};
use crate::world::Known;

/// The first version of the server whose views can run as their reader.
const SECURITY_INVOKER: u32 = 150_000;

/// Publishes a version's schema, in one transaction.
pub(crate) fn publish(draft: &Draft, owner: &str) -> Step {
    let schema = quote(&draft.version);
    let mut statements = vec![format!("CREATE SCHEMA {schema}"), copy_usage(draft)];
    let mut locks = Vec::new();
    for known in &draft.world.tables {
        statements.extend(view(draft, known, owner));
        locks.push(draft.lock(&known.physical, LockLevel::AccessShare));
    }
    Step {
        title: format!("publish the version schema `{}`", draft.version),
        statements,
        run: Run::Together,
        locks,
        cost: Cost::Instant,
        why: "new views only; programs of older versions do not look there".to_owned(),
    }
}

fn view(draft: &Draft, known: &Known, owner: &str) -> Vec<String> {
    let name = Qualified {
        schema: draft.version.clone(),
        name: known.name.clone(),
    }
    .sql();
    let columns = known
        .columns
        .iter()
        .map(|column| match column.name == column.physical {
            true => quote(&column.name),
            false => format!("{} AS {}", quote(&column.physical), quote(&column.name)),
        });
    let columns: Vec<String> = columns.collect();
    let invoker = match runs_as_reader(draft, known) {
        true => " WITH (security_invoker = true)",
        false => "",
    };
    let mut statements = vec![format!(
        "CREATE VIEW {name}{invoker} AS SELECT {} FROM {}",
        columns.join(", "),
        draft.sql(&known.physical)
    )];
    for (column, default) in &known.defaults {
        let default = match default {
            Some(default) => default.clone(),
            // A view cannot have NULL as its default: the table's would count.
            None => {
                let data_type = known
                    .column(column)
                    .map_or("text", |c| c.data_type.as_str());
                format!("CAST(NULLIF('', '') AS {data_type})")
            }
        };
        let column = quote(column);
        statements.push(format!(
            "ALTER VIEW {name} ALTER COLUMN {column} SET DEFAULT {default}"
        ));
    }
    statements.extend(grants(known, &name, owner));
    statements
}

/// Whether the view looks at the table with its reader's rights: so that what is taken from a
/// role, and what policies say of it, holds at once. The server then wants rights on every column
/// of the view, so that roles which may use single columns need the view's own rights instead.
fn runs_as_reader(draft: &Draft, known: &Known) -> bool {
    let secured = known.facts.row_security != RowSecurity::Off;
    draft.world.server_version >= SECURITY_INVOKER && (secured || !grants_columns(known))
}

fn grants_columns(known: &Known) -> bool {
    let mut columns = known.facts.columns.iter();
    columns.any(|column| column.privileges.is_some())
}

/// Where policies and privileges on single columns cannot both hold through the views.
pub(crate) fn notes(draft: &Draft) -> Vec<Note> {
    let shut = draft
        .world
        .tables
        .iter()
        .filter(|known| known.facts.row_security != RowSecurity::Off && grants_columns(known));
    let note = |known: &Known| Note {
        level: NoteLevel::Ask,
        table: Some(known.physical.clone()),
        text: format!(
            "roles that may use only single columns of `{}` cannot use it through the new version, because it has row-level security: grant them all of its columns",
            known.name
        ),
    };
    shut.map(note).collect()
}

/// Everybody may do with the view what they may do with the table.
fn grants(known: &Known, view: &str, owner: &str) -> Vec<String> {
    const OF_VIEWS: [&str; 4] = ["SELECT", "INSERT", "UPDATE", "DELETE"];
    let mut statements = Vec::new();
    if known.facts.owner != owner && !known.facts.owner.is_empty() {
        let all = OF_VIEWS.join(", ");
        statements.push(format!(
            "GRANT {all} ON {view} TO {}",
            quote(&known.facts.owner)
        ));
    }
    let mut grant = |grant: &Grant, columns: &str| {
        if OF_VIEWS.contains(&grant.privilege.as_str()) && grant.grantee.as_deref() != Some(owner) {
            let (to, option) = column::to_whom(grant);
            let privilege = &grant.privilege;
            statements.push(format!(
                "GRANT {privilege}{columns} ON {view} TO {to}{option}"
            ));
        }
    };
    for it in known.facts.privileges.iter().flatten() {
        grant(it, "");
    }
    for column in &known.columns {
        let facts = known.facts.column(&column.physical);
        let own = facts.and_then(|facts| facts.privileges.as_ref());
        for it in own.into_iter().flatten() {
            grant(it, &format!(" ({})", quote(&column.name)));
        }
    }
    statements
}

/// Everybody who may look into the base schema may look into the version's.
fn copy_usage(draft: &Draft) -> String {
    let body = format!(
        "\nDECLARE\n  it record;\nBEGIN\n  \
         FOR it IN SELECT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS who\n    \
         FROM pg_catalog.pg_namespace n, pg_catalog.aclexplode(n.nspacl) a\n    \
         WHERE n.nspname = {base} AND a.privilege_type = 'USAGE' AND a.grantee <> n.nspowner\n  LOOP\n    \
         EXECUTE format('GRANT USAGE ON SCHEMA %I TO %s', {version}, it.who);\n  END LOOP;\nEND\n",
        base = literal(&draft.world.base),
        version = literal(&draft.version),
    );
    format!("DO {}", dollar_quoted(&body))
}

/// Drops a version's schema with its views, and nothing that somebody else put there.
pub(crate) fn removal(schema: &str) -> Step {
    let body = format!(
        "\nDECLARE\n  it record;\nBEGIN\n  \
         FOR it IN SELECT c.relname FROM pg_catalog.pg_class c\n    \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace\n    \
         WHERE n.nspname = {name} AND c.relkind = 'v'\n  LOOP\n    \
         EXECUTE format('DROP VIEW %I.%I', {name}, it.relname);\n  END LOOP;\nEND\n",
        name = literal(schema),
    );
    Step {
        title: format!("drop the version schema `{schema}`"),
        statements: vec![
            format!("DO {}", dollar_quoted(&body)),
            format!("DROP SCHEMA IF EXISTS {}", quote(schema)),
        ],
        run: Run::Together,
        locks: Vec::new(),
        cost: Cost::Instant,
        why: "views only; no program uses this version".to_owned(),
    }
}
