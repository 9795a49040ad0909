//! `[database.NAME]`.

use super::{Field, Kind, Section};
use crate::form::{DURATION, SCHEMA_NAME, SEARCH_PATH, SECRET_REFERENCE, SPAN_OF_TIME, TEXT};

/// `[database.NAME]`.
pub(crate) const DATABASE: Section = Section {
    description: "A PostgreSQL database whose schema changes with the releases of the services that name it.",
    fields: &[
        Field::new(
            "url",
            Kind::Text(&SECRET_REFERENCE),
            "Secret that holds its URL; services that name the database get it, too.",
        )
        .required("\"secret:DATABASE_URL\""),
        Field::new(
            "migrations",
            Kind::Text(&TEXT),
            "Directory of its migrations, relative to this file; a deploy sends it along.",
        )
        .required("\"db/migrations\""),
        Field::new(
            "schema",
            Kind::Text(&SCHEMA_NAME),
            "Schema of its tables, from which the versions' schemas take their names.",
        )
        .default("\"public\""),
        Field::new(
            "search_path",
            Kind::Text(&SEARCH_PATH),
            "How an instance's connections find their version. url: options in the URL. pgoptions: the variable \
             PGOPTIONS. alias, for pools: the URL names the database DATABASE_SCHEMA (shop_public_02_split), which \
             the pool must lead to the version. role: the URL names a role of the version's own, made with the \
             rights of the URL's user. GAPLESS_SCHEMA names the version always.",
        )
        .default("\"url\""),
        Field::new(
            "migrate_url",
            Kind::Text(&SECRET_REFERENCE),
            "Secret that holds the URL that migrations go to, where the programs' is a pool's that gives each \
             transaction another session, or names a role that may not change the schema.",
        )
        .optional("that of the programs"),
        Field::new(
            "contract",
            Kind::Table(&CONTRACT),
            "When what only older releases needed is removed.",
        )
        .default("{}"),
        Field::new(
            "lock_timeout",
            Kind::Text(&SPAN_OF_TIME),
            "Longest time that a step of a migration keeps others waiting while it waits for a lock.",
        )
        .default("\"250ms\""),
        Field::new(
            "patience",
            Kind::Text(&SPAN_OF_TIME),
            "Longest time that a step is tried again because others hold what it needs, or the \
             database cannot be reached.",
        )
        .default("\"10m\""),
    ],
    one_of: &[],
};

/// `contract` of `[database.NAME]`.
pub(crate) const CONTRACT: Section = Section {
    description: "When what only older releases needed is removed. From then on they cannot be rolled back to.",
    fields: &[
        Field::new(
            "after",
            Kind::Text(&DURATION),
            "Time from the end of the last rollout that needed the migration.",
        )
        .default("\"24h\""),
        Field::new(
            "approve",
            Kind::Flag,
            "Whether somebody must approve it with `gapless migrate contract --database NAME`; without, it is done \
             when `after` has passed and nothing needs what it removes.",
        )
        .default("true"),
    ],
    one_of: &[],
};
