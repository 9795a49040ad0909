//! Databases that do as they are told.

use std::sync::{Arc, Mutex};

use control::{
    Again, ContractFailed, DatabaseFailed, Databases, Expansion, Followed, MigrationFile, Site,
    Standing,
};
use model::{LockWaits, SchemaAccount};
use runtime::Pending;

/// Remembers what was asked, and succeeds.
#[derive(Default)]
pub(crate) struct FakeDatabases {
    /// Every expand and contract, in order, with the database's URL.
    pub(crate) asked: Mutex<Vec<String>>,
    /// What stands in the history; `None`: nobody answers.
    pub(crate) standing: Mutex<Option<Standing>>,
    /// What becomes of the next contract; `None`: it is done.
    pub(crate) refuses: Mutex<Option<ContractFailed>>,
}

impl Databases for FakeDatabases {
    fn expand(
        &self,
        site: Arc<Site>,
        files: Arc<[MigrationFile]>,
        _followed: Followed,
    ) -> Pending<'static, Expansion> {
        let last = files.last().map(|file| file.name.clone());
        let text = format!("expand {} {:?}", site.url.expose(), last);
        self.asked.lock().unwrap().push(text);
        let account = SchemaAccount {
            database: site.name.clone(),
            version: last.clone(),
            migrations: last.into_iter().collect(),
            statements: Vec::new(),
            statements_total: 0,
            rows: 0,
            locks: LockWaits::default(),
            blocked: None,
            ms: 1,
        };
        let ended = Ok("\"$user\", public".to_owned());
        Box::pin(async move { Expansion { account, ended } })
    }

    fn contract(
        &self,
        site: Arc<Site>,
        migration: String,
        _followed: Followed,
    ) -> Pending<'static, Result<(), ContractFailed>> {
        let text = format!("contract {} {migration}", site.url.expose());
        self.asked.lock().unwrap().push(text);
        let refused = self.refuses.lock().unwrap().take();
        Box::pin(async { refused.map_or(Ok(()), Err) })
    }

    fn look(&self, _: Arc<Site>) -> Pending<'static, Result<Standing, DatabaseFailed>> {
        let standing = self.standing.lock().unwrap().clone();
        let nobody = DatabaseFailed {
            reason: "nobody answers".to_owned(),
            again: Again::Later,
        };
        Box::pin(async { standing.ok_or(nobody) })
    }
}
