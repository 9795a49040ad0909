//! The ranges that batches are made of.

use std::time::Duration;

use migration::plan::{Backfill, Key, TriggerEffect};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement, Transaction};

use super::checkpoint::Checkpoint;
use super::key_names;
use crate::error::{DatabaseError, Doing as _};
use crate::name::{qualified, quoted};
use crate::run::Runner;

/// Rows of the first batch and of the largest.
const ROWS: (u64, u64) = (1_000, 50_000);

/// Pages of the first batch and of the largest.
const PAGES: (u64, u64) = (20, 2_000);

/// How the rows of one table are divided.
pub(super) struct Ranges {
    doing: String,
    names: Vec<String>,
    table: String,
    /// `UPDATE … SET … WHERE`.
    update: String,
    /// What each batch's transaction begins with.
    begin: String,
    kind: Kind,
}

enum Kind {
    Keys(Box<Keys>),
    Pages,
}

/// Statements over the key: without a lower bound, then with one.
struct Keys {
    /// The last key there was when the filling began; `None`: there was no row. What programs
    /// insert later their triggers fill in, so that a run ends however quickly they do.
    last: Option<Vec<String>>,
    /// The key that a batch of so many rows ends with.
    bounds: [Statement; 2],
    /// The update up to a key.
    updates: [Statement; 2],
}

impl Ranges {
    pub(super) async fn new(client: &Client, backfill: &Backfill) -> Result<Self, DatabaseError> {
        let alias = quoted(&backfill.alias);
        let table = format!("{} AS {alias}", qualified(&backfill.table));
        let set = backfill.set.iter();
        let set = set.map(|it| format!("{} = {}", quoted(&it.column), it.expression));
        let set: Vec<String> = set.collect();
        let update = format!("UPDATE {table} SET {} WHERE ", set.join(", "));
        let doing = format!("fill in rows of {}", backfill.table);
        let names = key_names(backfill);
        let kind = match &backfill.key {
            Key::Ctid => Kind::Pages,
            Key::Columns { columns, .. } => {
                let types = types(client, backfill, columns).await?;
                let sql = KeySql::new(&alias, columns, &types);
                Kind::Keys(Box::new(
                    sql.prepare(client, (&table, &update), &doing).await?,
                ))
            }
        };
        let fires = backfill
            .triggers
            .iter()
            .any(|it| it.effect == TriggerEffect::Fires);
        // A batch that a crash loses is lost with its checkpoint: nobody need wait for the disk,
        // nor for a replica, whose lag is looked at.
        let mut begin =
            "SET LOCAL gapless.backfill = 'on'; SET LOCAL synchronous_commit = off".to_owned();
        if fires && super::may_silence(client).await? {
            begin.push_str("; SET LOCAL session_replication_role = replica");
        }
        Ok(Self {
            doing,
            names,
            table,
            update,
            begin,
            kind,
        })
    }

    /// Rows, or pages, of the first batch and of the largest.
    pub(super) fn units(&self) -> (u64, u64) {
        match self.kind {
            Kind::Keys(_) => ROWS,
            Kind::Pages => PAGES,
        }
    }

    /// Fills in the next `units` behind the checkpoint and returns the new one.
    pub(super) async fn batch(
        &self,
        runner: &mut Runner,
        from: &Checkpoint,
        units: u64,
    ) -> Result<Checkpoint, DatabaseError> {
        let transaction = self.begin(runner).await?;
        let mut next = from.clone();
        let rows = match &self.kind {
            Kind::Keys(keys) => self.keys(&transaction, (keys, units), &mut next).await?,
            Kind::Pages => self.pages(&transaction, units, &mut next).await?,
        };
        next.rows_done += i64::try_from(rows).unwrap_or(i64::MAX);
        next.save(transaction.client()).await?;
        transaction.commit().await.doing(&self.doing)?;
        Ok(next)
    }

    async fn begin<'a>(&self, runner: &'a mut Runner) -> Result<Transaction<'a>, DatabaseError> {
        let limit: Duration = runner.settings.lock_timeout;
        let transaction = runner
            .connection
            .client
            .transaction()
            .await
            .doing(&self.doing)?;
        // Whoever holds a row that we want waits for none of ours longer than this.
        let set = format!(
            "{}; SET LOCAL lock_timeout = {}",
            self.begin,
            limit.as_millis()
        );
        transaction.batch_execute(&set).await.doing(&self.doing)?;
        Ok(transaction)
    }

    async fn keys(
        &self,
        transaction: &Transaction<'_>,
        (keys, units): (&Keys, u64),
        next: &mut Checkpoint,
    ) -> Result<u64, DatabaseError> {
        let Some(last) = &keys.last else {
            next.finished = true;
            return Ok(0);
        };
        let low = next.cursor.take();
        let high = self
            .bound(transaction.client(), (keys, units), low.as_deref())
            .await?;
        next.finished = high.is_none();
        let high = high.unwrap_or_else(|| last.clone());
        let ends = low.iter().flatten().chain(&high);
        let params: Vec<&(dyn ToSql + Sync)> = ends.map(|it| it as &(dyn ToSql + Sync)).collect();
        let statement = &keys.updates[usize::from(low.is_some())];
        let rows = transaction
            .execute(statement, &params)
            .await
            .doing(&self.doing)?;
        next.cursor = Some(high);
        Ok(rows)
    }

    /// The key of the row `units` behind `low`; `None` where there are fewer.
    async fn bound(
        &self,
        client: &Client,
        (keys, units): (&Keys, u64),
        low: Option<&[String]>,
    ) -> Result<Option<Vec<String>>, DatabaseError> {
        let offset = i64::try_from(units.saturating_sub(1)).unwrap_or(i64::MAX);
        let ends = low.into_iter().chain(keys.last.as_deref()).flatten();
        let mut params: Vec<&(dyn ToSql + Sync)> =
            ends.map(|it| it as &(dyn ToSql + Sync)).collect();
        params.push(&offset);
        let statement = &keys.bounds[usize::from(low.is_some())];
        let row = client
            .query_opt(statement, &params)
            .await
            .doing(&self.doing)?;
        Ok(row.map(|row| (0..row.len()).map(|column| row.get(column)).collect()))
    }

    async fn pages(
        &self,
        transaction: &Transaction<'_>,
        units: u64,
        next: &mut Checkpoint,
    ) -> Result<u64, DatabaseError> {
        let (from, last) = (page(next), next.last_page.unwrap_or(0));
        let to = from.saturating_add_unsigned(units).min(last);
        let sql = format!(
            "{}ctid >= '({from},0)'::tid AND ctid < '({to},0)'::tid",
            self.update
        );
        let rows = match from < to {
            true => transaction.execute(&sql, &[]).await.doing(&self.doing)?,
            false => 0,
        };
        next.cursor = Some(vec![to.to_string()]);
        next.finished = to >= last;
        Ok(rows)
    }

    /// Counts what the last batch, of one row or page, could not fill in, and goes behind it.
    pub(super) async fn pass_over(
        &self,
        runner: &mut Runner,
        checkpoint: &mut Checkpoint,
        error: &DatabaseError,
    ) -> Result<(), DatabaseError> {
        match &self.kind {
            Kind::Keys(keys) => {
                let low = checkpoint.cursor.as_deref();
                let client = &runner.connection.client;
                match self.bound(client, (keys, 1), low).await? {
                    Some(key) => {
                        checkpoint.fail(self.shown(&key), &error.to_string());
                        checkpoint.cursor = Some(key);
                    }
                    // Whoever had that row removed it.
                    None => checkpoint.finished = true,
                }
            }
            Kind::Pages => self.one_by_one(runner, checkpoint).await?,
        }
        checkpoint.save(&runner.connection.client).await
    }

    /// The rows of one page, each alone.
    async fn one_by_one(
        &self,
        runner: &mut Runner,
        checkpoint: &mut Checkpoint,
    ) -> Result<(), DatabaseError> {
        let from = page(checkpoint);
        let to = from + 1;
        let sql = format!(
            "SELECT ctid::text FROM {} WHERE ctid >= '({from},0)'::tid AND ctid < '({to},0)'::tid",
            self.table
        );
        let rows = runner
            .connection
            .client
            .query(&sql, &[])
            .await
            .doing(&self.doing)?;
        for row in rows {
            let place: String = row.get(0);
            let sql = format!("{}ctid = '{place}'::tid", self.update);
            let transaction = self.begin(runner).await?;
            match transaction.execute(&sql, &[]).await.doing(&self.doing) {
                Ok(rows) => {
                    transaction.commit().await.doing(&self.doing)?;
                    checkpoint.rows_done += i64::try_from(rows).unwrap_or(i64::MAX);
                }
                Err(error) if error.is_about_rows() => {
                    checkpoint.fail(self.shown(&[place]), &error.to_string());
                }
                Err(error) => return Err(error),
            }
        }
        checkpoint.cursor = Some(vec![to.to_string()]);
        checkpoint.finished = to >= checkpoint.last_page.unwrap_or(0);
        Ok(())
    }

    /// A row's key for a person: `id = 7`, `(a, b) = (1, 2)`.
    fn shown(&self, key: &[String]) -> String {
        match (self.names.as_slice(), key) {
            ([name], [value]) => format!("{name} = {value}"),
            (names, values) => format!("({}) = ({})", names.join(", "), values.join(", ")),
        }
    }
}

fn page(checkpoint: &Checkpoint) -> i64 {
    let cursor = checkpoint.cursor.as_deref().and_then(<[String]>::first);
    cursor.and_then(|page| page.parse().ok()).unwrap_or(0)
}

/// The pieces of SQL that a key of these columns needs.
struct KeySql {
    columns: String,
    descending: String,
    texts: String,
    types: Vec<String>,
}

impl KeySql {
    fn new(alias: &str, columns: &[String], types: &[String]) -> Self {
        let columns: Vec<String> = columns
            .iter()
            .map(|column| format!("{alias}.{}", quoted(column)))
            .collect();
        let texts: Vec<String> = columns
            .iter()
            .map(|column| format!("{column}::text"))
            .collect();
        Self {
            descending: columns.join(" DESC, ") + " DESC",
            columns: columns.join(", "),
            texts: texts.join(", "),
            types: types.to_vec(),
        }
    }

    /// `($1::text::t, …)` from the parameter after `before`.
    fn row(&self, before: usize) -> String {
        let casts = self.types.iter().enumerate();
        let casts = casts.map(|(index, name)| format!("${}::text::{name}", before + index + 1));
        format!("({})", casts.collect::<Vec<_>>().join(", "))
    }

    async fn prepare(
        &self,
        client: &Client,
        (table, update): (&str, &str),
        doing: &str,
    ) -> Result<Keys, DatabaseError> {
        let (columns, texts, width) = (&self.columns, &self.texts, self.types.len());
        let behind = format!("({columns}) > {}", self.row(0));
        let until = format!("({columns}) <= {}", self.row(0));
        let between = format!("{behind} AND ({columns}) <= {}", self.row(width));
        let bound = |condition: &str, offset: usize| {
            format!(
                "SELECT {texts} FROM {table} WHERE {condition} ORDER BY {columns} OFFSET ${offset}::int8 LIMIT 1"
            )
        };
        let prepare = async |sql: &str| client.prepare(sql).await.doing(doing);
        let last = format!(
            "SELECT {texts} FROM {table} ORDER BY {} LIMIT 1",
            self.descending
        );
        let last = client.query_opt(&last, &[]).await.doing(doing)?;
        Ok(Keys {
            last: last.map(|row| (0..row.len()).map(|column| row.get(column)).collect()),
            bounds: [
                prepare(&bound(&until, width + 1)).await?,
                prepare(&bound(&between, 2 * width + 1)).await?,
            ],
            updates: [
                prepare(&format!("{update}{until}")).await?,
                prepare(&format!("{update}{between}")).await?,
            ],
        })
    }
}

/// The types of the key's columns, as SQL.
async fn types(
    client: &Client,
    backfill: &Backfill,
    columns: &[String],
) -> Result<Vec<String>, DatabaseError> {
    let reading = "look at a table's key";
    let rows = client
        .query(
            "SELECT quote_ident(n.nspname) || '.' || quote_ident(t.typname)
             FROM unnest($2::text[]) WITH ORDINALITY k(name, nth)
             JOIN pg_attribute a ON a.attrelid = to_regclass($1) AND a.attname = k.name AND a.attnum > 0
             JOIN pg_type t ON t.oid = a.atttypid JOIN pg_namespace n ON n.oid = t.typnamespace
             ORDER BY k.nth",
            &[&qualified(&backfill.table), &columns],
        )
        .await
        .doing(reading)?;
    if rows.len() != columns.len() {
        return Err(DatabaseError::history(format!(
            "{} has no columns ({}) any more",
            backfill.table,
            columns.join(", ")
        )));
    }
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
