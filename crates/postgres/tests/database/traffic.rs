//! A program that never stops writing: a statement that fails is the test's failure.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::stand::Database;

/// A session that writes until it is told to end.
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    done: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Traffic {
    /// Runs `statements` in turn, by `search_path = path`; `{n}` in them is the number of the
    /// turn, from 1.
    pub(crate) async fn of(
        database: &Database,
        path: &str,
        statements: &'static [&'static str],
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, done) = watch::channel(0);
        let mut session = database.connect().await;
        let set = format!("SET search_path = {path}");
        session.client().batch_execute(&set).await.unwrap();
        let ended = stop.clone();
        let task = tokio::spawn(async move {
            let mut n = 0_u64;
            while !ended.load(Ordering::Relaxed) {
                n += 1;
                for statement in statements {
                    let sql = statement.replace("{n}", &n.to_string());
                    let done = session.client().batch_execute(&sql).await;
                    done.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
                }
                sender.send_replace(n);
            }
        });
        Self { stop, done, task }
    }

    /// Waits until it has done `turns` more; all that it did so far went well.
    pub(crate) async fn more(&mut self, turns: u64) {
        let until = *self.done.borrow() + turns;
        let done = self.done.wait_for(|done| *done >= until).await;
        done.expect("its task goes on until it is told to end");
    }

    /// Ends it; nothing that it did has failed.
    pub(crate) async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
    }
}
