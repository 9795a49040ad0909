//! From a pipe to memory, to followers and to disk.

use std::fs;
use std::io::Write;

use tempfile::TempDir;

use super::*;

const SMALL: LogBounds = LogBounds {
    file_bytes_max: 4096,
    files_max: 3,
};

fn logs(bounds: LogBounds) -> (TempDir, Logs) {
    let directory = tempfile::tempdir().unwrap();
    let logs = Logs::open(directory.path().join("logs"), bounds).unwrap();
    (directory, logs)
}

fn source(instance: &str) -> LogSource {
    LogSource {
        service: "web".into(),
        release: "v1".into(),
        instance: instance.into(),
    }
}

fn ended(kept: &[u8]) -> LogStream {
    LogStream {
        pipe: None,
        kept: kept.to_vec(),
        dropped_bytes: 0,
    }
}

/// A stream that is written to by a thread.
fn flowing(content: Vec<u8>) -> LogStream {
    let (read, write) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&read, true).unwrap();
    std::thread::spawn(move || {
        let mut write = write;
        write.write_all(&content).unwrap();
    });
    let pipe = tokio::net::unix::pipe::Receiver::from_owned_fd(read.into()).unwrap();
    LogStream {
        pipe: Some(pipe),
        kept: Vec::new(),
        dropped_bytes: 0,
    }
}

fn texts(lines: &[Arc<LogLine>]) -> Vec<&str> {
    lines.iter().map(|line| line.text.as_str()).collect()
}

#[tokio::test]
async fn what_was_kept_comes_before_what_flows_and_ends_up_everywhere() {
    let (_directory, logs) = logs(LogBounds::default());
    let mut follower = logs.follow();
    let stdout = LogStream {
        kept: b"first\nsec".to_vec(),
        ..flowing(b"ond\nthird".to_vec())
    };
    logs.attach(
        &source("web/v1/1"),
        LogPipes {
            stdout,
            stderr: ended(b""),
        },
    )
    .ended()
    .await;
    let tail = logs.tail("web/v1/1");
    assert_eq!(texts(&tail), ["first", "second", "third"]);
    for line in &tail {
        assert_eq!(follower.recv().await.unwrap(), *line);
    }
    logs.flush();
    let history: Vec<LogLine> = logs.history("web").collect();
    assert_eq!(
        history,
        tail.iter().map(|line| (**line).clone()).collect::<Vec<_>>()
    );
    assert_eq!(
        (history[0].release.as_str(), history[0].stream),
        ("v1", Stream::Stdout)
    );
    logs.forget("web/v1/1");
    assert!(logs.tail("web/v1/1").is_empty());
}

#[tokio::test]
async fn dropped_bytes_are_told() {
    let (_directory, logs) = logs(LogBounds::default());
    let stderr = LogStream {
        dropped_bytes: 7,
        ..ended(b"rest\n")
    };
    logs.attach(
        &source("a"),
        LogPipes {
            stdout: ended(b""),
            stderr,
        },
    )
    .ended()
    .await;
    let tail = logs.tail("a");
    assert_eq!(
        (tail[0].dropped_bytes, tail[1].text.as_str(), tail.len()),
        (7, "rest", 2)
    );
}

#[tokio::test]
async fn binary_output_is_kept_so_that_it_can_be_had_back() {
    let (_directory, logs) = logs(LogBounds::default());
    let stdout = ended(b"a\\b\xff\x00\x1b\xc3\n\\plain\n");
    logs.attach(
        &source("a"),
        LogPipes {
            stdout,
            stderr: ended(b""),
        },
    )
    .ended()
    .await;
    logs.flush();
    let history: Vec<LogLine> = logs.history("web").collect();
    assert_eq!(history[0].text, "a\\\\b\\xff\0\u{1b}\\xc3");
    assert_eq!((history[0].escaped, history[1].escaped), (true, false));
    assert_eq!(history[1].text, "\\plain");
}

#[tokio::test]
async fn a_flood_stays_within_its_bounds_on_disk_and_in_memory() {
    let (directory, logs) = logs(SMALL);
    let flood: String = (0..2000).map(|number| format!("line {number}\n")).collect();
    let stdout = flowing(flood.into_bytes());
    logs.attach(
        &source("a"),
        LogPipes {
            stdout,
            stderr: ended(b""),
        },
    )
    .ended()
    .await;
    logs.flush();
    let files: Vec<u64> = fs::read_dir(directory.path().join("logs/web"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .collect();
    assert_eq!(files.len(), 3);
    assert!(files.iter().all(|size| *size <= SMALL.file_bytes_max));
    let history: Vec<LogLine> = logs.history("web").collect();
    let last = history.last().unwrap();
    assert_eq!(last.text, "line 1999");
    let first: usize = history[0]
        .text
        .strip_prefix("line ")
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(history.len(), 2000 - first, "no hole in what is left");
    assert_eq!(logs.tail("a").len(), TAIL_LINES_MAX);
}

#[tokio::test]
async fn where_nothing_can_be_written_lines_are_dropped_and_counted_and_told_later() {
    let (directory, logs) = logs(LogBounds::default());
    // A file where the service's directory should be.
    let place = directory.path().join("logs/web");
    fs::write(&place, b"").unwrap();
    let pipes = |text: &[u8]| LogPipes {
        stdout: ended(text),
        stderr: ended(b""),
    };
    logs.attach(&source("a"), pipes(b"one\ntwo\n"))
        .ended()
        .await;
    logs.flush();
    assert_eq!(logs.dropped_lines(), 2);
    assert_eq!(texts(&logs.tail("a")), ["one", "two"], "memory has them");
    fs::remove_file(&place).unwrap();
    logs.attach(&source("a"), pipes(b"three\n")).ended().await;
    logs.flush();
    let history: Vec<LogLine> = logs.history("web").collect();
    assert_eq!(
        (history[0].dropped, history[1].text.as_str(), history.len()),
        (2, "three", 2)
    );
}

#[tokio::test]
async fn a_line_torn_by_a_crash_stays_alone() {
    let (directory, logs) = logs(LogBounds::default());
    let place = directory.path().join("logs/web");
    fs::create_dir(&place).unwrap();
    fs::write(place.join("log.jsonl"), b"{\"time\":\"20").unwrap();
    let pipes = LogPipes {
        stdout: ended(b"whole\n"),
        stderr: ended(b""),
    };
    logs.attach(&source("a"), pipes).ended().await;
    logs.flush();
    let history: Vec<String> = logs.history("web").map(|line| line.text).collect();
    assert_eq!(history, ["whole"]);
}

#[test]
fn history_of_what_is_no_service_is_empty() {
    let (_directory, logs) = logs(LogBounds::default());
    for name in ["", ".", "..", "../logs", "/etc", "missing"] {
        assert_eq!(logs.history(name).count(), 0, "{name}");
    }
}
