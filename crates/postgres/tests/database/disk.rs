//! The server's disk is full in the middle of a backfill.

use std::path::PathBuf;
use std::process::Command;

use postgres::{DatabaseError, Phase};

use crate::script::{by_id, change, plan, runner};
use crate::stand::Database;

/// A disk of its own, as small as it is said to be.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// `None` where this process may not mount one; the reason is printed.
    fn new(database: &Database) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let owner = database.cluster.owner().unwrap_or_default();
        let options = format!("size=16m,mode=0700,uid={},gid={}", owner.0, owner.1);
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "gapless-test"]);
        let output = mount.arg(folder.path()).output();
        match output {
            Ok(output) if output.status.success() => Some(Self { folder }),
            Ok(output) => {
                let reason = String::from_utf8_lossy(&output.stderr);
                eprintln!("skipped: a small disk cannot be mounted: {}", reason.trim());
                None
            }
            Err(error) => {
                eprintln!("skipped: `mount` cannot be run: {error}");
                None
            }
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.folder.path())
            .status();
    }
}

/// Nothing is taken back for it: when there is room, the change goes on where it was.
#[tokio::test]
async fn a_backfill_that_filled_the_disk_is_carried_on_when_there_is_room() {
    let Some(database) = Database::new() else {
        return;
    };
    let Some(disk) = SmallDisk::new(&database) else {
        return;
    };
    let name = &database.name;
    let path = disk.path();
    let space = format!(
        "CREATE TABLESPACE {name} OWNER {name} LOCATION '{}'",
        path.display()
    );
    database.superuser(&space);
    database
        .run(&format!(
            "CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL) TABLESPACE {name};
             INSERT INTO users SELECT n, 'u' || n || repeat('x', 200) FROM generate_series(1, 20000) n;
             CREATE TABLE ballast (data text) TABLESPACE {name};
             ALTER TABLE ballast ALTER COLUMN data SET STORAGE PLAIN;
             INSERT INTO ballast SELECT repeat('y', 7000) FROM generate_series(1, 1000)"
        ))
        .await;
    let mut runner = runner(&database).await;
    let error = runner.expand(&change(plan(by_id()))).await.unwrap_err();
    let said = error.to_string();
    assert!(matches!(error, DatabaseError::Sql { .. }), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
    let entry = runner.history().await.unwrap().pop().unwrap();
    assert_eq!(entry.phase, Phase::Backfill, "{said}");
    assert!(
        entry.rows_done > 0 && entry.rows_done < 20_000,
        "{}",
        entry.rows_done
    );
    // Programs are not stopped by it, as far as the disk lets them.
    let name_of = "SELECT left(name, 2) FROM users WHERE id = 7";
    assert_eq!(database.superuser(name_of), "u7");
    database.run("DROP TABLE ballast").await;
    runner.expand(&change(plan(by_id()))).await.unwrap();
    let wrong =
        "SELECT count(*) FROM v2.users v JOIN users u USING (id) WHERE v.nick <> upper(u.name)";
    assert_eq!(database.superuser(wrong), "0");
    drop(runner);
    database.superuser("DROP TABLE users CASCADE");
    database.superuser(&format!("DROP TABLESPACE {name}"));
}
