//! Definitions as SQL, from the model and not from the server's text: so they can be made again
//! over other columns.

use crate::schema::{
    Constraint, ConstraintKind, ForeignKey, ForeignKeyAction, ForeignKeyMatch, Index, IndexKey,
    Qualified,
};
use crate::sql::name::quote_all;
use crate::sql::quote;

/// What follows `ADD CONSTRAINT name`; keys with their columns, not over an index.
pub(crate) fn constraint(it: &Constraint, index: Option<&Index>) -> String {
    match it.kind {
        ConstraintKind::Check => {
            let expression = it.expression.as_deref().unwrap_or("true");
            let inherit = if it.no_inherit { " NO INHERIT" } else { "" };
            format!("CHECK ({expression}\n){inherit}").replace("\n)", ")")
        }
        ConstraintKind::ForeignKey => match &it.foreign_key {
            Some(key) => format!("{}{}", foreign_key(&it.columns, key), deferral(it)),
            None => it.definition.clone(),
        },
        ConstraintKind::Unique => format!("UNIQUE{}", key(it, index)),
        ConstraintKind::PrimaryKey => format!("PRIMARY KEY{}", key(it, index)),
        ConstraintKind::Exclusion | ConstraintKind::NotNull => it.definition.clone(),
    }
}

/// What follows `ADD CONSTRAINT name` for a key over an index that is there.
pub(crate) fn over_index(it: &Constraint, index: &str) -> String {
    let kind = match it.kind {
        ConstraintKind::PrimaryKey => "PRIMARY KEY",
        ConstraintKind::Unique
        | ConstraintKind::Check
        | ConstraintKind::ForeignKey
        | ConstraintKind::Exclusion
        | ConstraintKind::NotNull => "UNIQUE",
    };
    format!("{kind} USING INDEX {}{}", quote(index), deferral(it))
}

/// `DEFERRABLE` and the like.
pub(crate) fn deferral(it: &Constraint) -> &'static str {
    match (it.deferrable, it.initially_deferred) {
        (_, true) => " DEFERRABLE INITIALLY DEFERRED",
        (true, false) => " DEFERRABLE",
        (false, false) => "",
    }
}

fn key(it: &Constraint, index: Option<&Index>) -> String {
    let mut text = String::new();
    if index.is_some_and(|index| index.nulls_not_distinct) {
        text += " NULLS NOT DISTINCT";
    }
    text += &format!(" ({})", quote_all(&it.columns));
    if let Some(index) = index {
        text += &tail(index, "USING INDEX TABLESPACE");
    }
    text + deferral(it)
}

/// `INCLUDE`, storage parameters and tablespace.
fn tail(index: &Index, tablespace: &str) -> String {
    let mut text = String::new();
    if !index.include.is_empty() {
        text += &format!(" INCLUDE ({})", quote_all(&index.include));
    }
    if !index.options.is_empty() {
        let options: Vec<&str> = index.options.iter().map(String::as_str).collect();
        text += &format!(" WITH ({})", options.join(", "));
    }
    if let Some(space) = &index.tablespace {
        text += &format!(" {tablespace} {}", quote(space));
    }
    text
}

fn foreign_key(columns: &[String], key: &ForeignKey) -> String {
    let mut text = format!(
        "FOREIGN KEY ({}) REFERENCES {} ({})",
        quote_all(columns),
        key.table.sql(),
        quote_all(&key.columns)
    );
    if key.match_type == ForeignKeyMatch::Full {
        text += " MATCH FULL";
    }
    if key.on_update != ForeignKeyAction::NoAction {
        text += &format!(" ON UPDATE {}", action(key.on_update));
    }
    if key.on_delete != ForeignKeyAction::NoAction {
        text += &format!(" ON DELETE {}", action(key.on_delete));
    }
    if !key.on_delete_columns.is_empty() {
        text += &format!(" ({})", quote_all(&key.on_delete_columns));
    }
    text
}

fn action(action: ForeignKeyAction) -> &'static str {
    match action {
        ForeignKeyAction::NoAction => "NO ACTION",
        ForeignKeyAction::Restrict => "RESTRICT",
        ForeignKeyAction::Cascade => "CASCADE",
        ForeignKeyAction::SetNull => "SET NULL",
        ForeignKeyAction::SetDefault => "SET DEFAULT",
    }
}

/// How an index is built beside running programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Build {
    /// While nobody may write.
    Plain,
    /// While everybody may.
    Concurrently,
    /// Of a partitioned table, without those of its partitions.
    Only,
}

/// The statement that makes an index.
pub(crate) fn index(name: &str, table: &Qualified, it: &Index, build: Build) -> String {
    let unique = if it.unique { "UNIQUE " } else { "" };
    let (concurrently, only) = match build {
        Build::Plain => ("", ""),
        Build::Concurrently => ("CONCURRENTLY ", ""),
        Build::Only => ("", "ONLY "),
    };
    let mut parts = Vec::new();
    for part in &it.parts {
        let mut text = match &part.key {
            IndexKey::Column(column) => quote(column),
            IndexKey::Expression(expression) => format!("({expression})"),
        };
        if let Some(collation) = &part.collation {
            text += &format!(" COLLATE {}", collation.sql());
        }
        if let Some(opclass) = &part.opclass {
            text += &format!(" {opclass}");
        }
        text += if part.descending { " DESC" } else { "" };
        text += match (part.nulls_first, part.descending) {
            (true, false) => " NULLS FIRST",
            (false, true) => " NULLS LAST",
            (true, true) | (false, false) => "",
        };
        parts.push(text);
    }
    let mut text = format!(
        "CREATE {unique}INDEX {concurrently}{} ON {only}{} USING {} ({})",
        quote(name),
        table.sql(),
        it.method,
        parts.join(", ")
    );
    let end = tail(it, "TABLESPACE");
    match (it.nulls_not_distinct, end.find(" WITH (")) {
        (true, Some(at)) => text += &format!("{} NULLS NOT DISTINCT{}", &end[..at], &end[at..]),
        (true, None) => text += &format!("{end} NULLS NOT DISTINCT"),
        (false, _) => text += &end,
    }
    if let Some(predicate) = &it.predicate {
        text += &format!(" WHERE ({predicate})");
    }
    text
}

/// A query that says whether an index is there and valid.
pub(crate) fn index_is_valid(base: &str, name: &str) -> String {
    index_query(base, name, " AND i.indisvalid")
}

/// A query that says whether no index of that name is there.
pub(crate) fn index_is_gone(base: &str, name: &str) -> String {
    format!(
        "SELECT NOT ({})",
        index_query(base, name, "").trim_start_matches("SELECT ")
    )
}

fn index_query(base: &str, name: &str, more: &str) -> String {
    format!(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_index i \
         JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = {} AND c.relname = {}{more})",
        crate::sql::literal(base),
        crate::sql::literal(name)
    )
}
