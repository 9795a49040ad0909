//! What a case has at hand.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use runtime::process::ProcessDriver;
use runtime::{Driver, DriverEvent, ExitStatus, Instance, Key, Limits, LogStream, StartSpec};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

/// Nothing here takes nearly as long unless it is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// A named case.
pub(crate) type Case = (
    &'static str,
    fn(Stage) -> Pin<Box<dyn Future<Output = ()> + Send>>,
);

/// Lists async functions as cases under their own names.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        &[$((stringify!($name), |stage| Box::pin($name(stage)))),*]
    };
}
pub(crate) use cases;

/// A driver, its events and a directory.
pub(crate) struct Stage {
    pub(crate) driver: Arc<ProcessDriver>,
    pub(crate) directory: PathBuf,
    events: mpsc::UnboundedReceiver<DriverEvent>,
}

impl Stage {
    pub(crate) fn new(driver: Arc<ProcessDriver>, directory: PathBuf) -> Self {
        let (told, events) = mpsc::unbounded_channel();
        let source = Arc::clone(&driver);
        tokio::spawn(async move { while told.send(source.event().await).is_ok() {} });
        Self {
            driver,
            directory,
            events,
        }
    }

    /// The next event.
    pub(crate) async fn event(&mut self) -> DriverEvent {
        tokio::time::timeout(PATIENCE, self.events.recv())
            .await
            .unwrap()
            .unwrap()
    }

    /// Whether no event waits.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.events.try_recv().is_err()
    }

    /// Starts a shell command.
    pub(crate) async fn shell(&self, name: &str, script: &str) -> Instance {
        let spec = self.spec(&["sh", "-c", script]);
        self.driver.start(&key(name), &spec).await.unwrap()
    }

    pub(crate) fn spec(&self, argv: &[&str]) -> StartSpec {
        StartSpec {
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            env: vec![("PATH".into(), "/usr/sbin:/usr/bin:/sbin:/bin".into())],
            cwd: self.directory.clone(),
            identity: None,
            rlimits: Vec::new(),
            limits: Limits::default(),
        }
    }

    /// How a shell command ends.
    pub(crate) async fn ends(&self, name: &str) -> ExitStatus {
        let key = key(name);
        tokio::time::timeout(PATIENCE, self.driver.wait(&key))
            .await
            .unwrap()
            .unwrap()
    }

    /// Waits for a file to hold a pid.
    pub(crate) async fn pid_in(&self, file: &str) -> u32 {
        let path = self.directory.join(file);
        eventually("a pid is written", || read_pid(&path)).await
    }
}

fn read_pid(path: &Path) -> Option<u32> {
    let text = std::fs::read_to_string(path).ok()?;
    text.ends_with('\n').then(|| text.trim().parse().ok())?
}

pub(crate) fn key(name: &str) -> Key {
    Key::try_new(name).unwrap()
}

/// Tries until there is a result.
pub(crate) async fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let trying = async {
        loop {
            if let Some(result) = attempt() {
                return result;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let Ok(result) = tokio::time::timeout(PATIENCE, trying).await else {
        panic!("waited in vain: {what}");
    };
    result
}

/// Whether the process runs; a zombie does not.
pub(crate) fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// All of a stream.
pub(crate) async fn all_of(stream: LogStream) -> String {
    let mut bytes = stream.kept;
    if let Some(mut pipe) = stream.pipe {
        let read = pipe.read_to_end(&mut bytes);
        tokio::time::timeout(PATIENCE, read).await.unwrap().unwrap();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
