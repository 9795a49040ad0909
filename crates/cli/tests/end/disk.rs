//! File systems that run out of room or fail, for the state directory.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

/// A file system of its own, gone when this is dropped.
pub(crate) struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    /// One with room for little more than one artefact; `None` where none can be mounted.
    pub(crate) fn small() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let options = ["-t", "tmpfs", "-o", "size=400m", "tmpfs"].map(OsStr::new);
        run(
            "mount",
            &[&options[..], &[folder.path().as_os_str()]].concat(),
        )?;
        Some(Self { folder })
    }

    /// One that [`Disk::fail`] makes read-only as the kernel does when it finds it damaged.
    pub(crate) fn failing() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        let file = std::fs::File::create(&image).unwrap();
        file.set_len(1 << 30).unwrap();
        run("mkfs.ext4", &[OsStr::new("-q"), image.as_os_str()])?;
        let options = ["-o", "loop,errors=remount-ro"].map(OsStr::new);
        let places = [image.as_os_str(), folder.path().as_os_str()];
        run("mount", &[options, places].concat())?;
        let disk = Self { folder };
        disk.trigger()
            .is_some_and(|path| Path::new(&path).exists())
            .then_some(disk)
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Lets the kernel find an error; returns once nothing can be written any more.
    pub(crate) fn fail(&self) {
        std::fs::write(self.trigger().unwrap(), "1").unwrap();
        let begin = std::time::Instant::now();
        while std::fs::write(self.path().join("probe"), "").is_ok() {
            assert!(
                begin.elapsed() < crate::project::PATIENCE,
                "it is still written"
            );
        }
    }

    /// The kernel's file that makes this file system fail.
    fn trigger(&self) -> Option<String> {
        let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
        let place = self.path().to_str()?;
        let device = mounts.lines().find_map(|line| {
            let mut words = line.split(' ');
            let device = words.next()?;
            (words.next()? == place).then(|| device.rsplit('/').next())?
        })?;
        Some(format!("/sys/fs/ext4/{device}/trigger_fs_error"))
    }
}

fn run(program: &str, args: &[&OsStr]) -> Option<()> {
    let mut command = Command::new(program);
    command
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
        .status()
        .is_ok_and(|status| status.success())
        .then_some(())
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = run("umount", &[OsStr::new("-l"), self.path().as_os_str()]);
    }
}
