//! User-space instructions of a request, counted by callgrind: the same in every run.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::tools::h2load;

const FEW: u64 = 1_000;
const MANY: u64 = 3_000;

/// Instructions of a small HTTP/1.1 request in Gapless's proxy alone and in nginx.
pub(super) fn run(folder: &Path, program: u16) -> Result<Value, String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let ours = this.with_file_name("examples").join("bench_proxy");
    let gapless = each(|port| {
        let mut command = counted(folder);
        command
            .arg(&ours)
            .args([format!("127.0.0.1:{port}"), format!("127.0.0.1:{program}")]);
        command
    })?;
    let nginx = each(|port| {
        let mut command = counted(folder);
        let text = super::front::nginx_config(folder, (program, None), [port, 0, 0]);
        let file = folder.join("counted.conf");
        // A file that cannot be written is found out by nginx.
        let _ = std::fs::write(&file, text);
        command
            .args(["nginx", "-g", "daemon off; master_process off;", "-p"])
            .arg(folder)
            .arg("-c")
            .arg(&file);
        command
    })?;
    eprintln!(
        "instructions a request: gapless {gapless:.0}, nginx {nginx:.0} ({:.2})",
        gapless / nginx
    );
    Ok(json!({ "gapless": gapless, "nginx": nginx, "gapless_ratio": gapless / nginx }))
}

fn counted(folder: &Path) -> Command {
    let mut command = Command::new("valgrind");
    let file = folder.join("callgrind.out");
    command.args([
        "--tool=callgrind",
        &format!("--callgrind-out-file={}", file.display()),
    ]);
    command
}

/// What a request more costs: start and end are in both counts.
fn each(command: impl Fn(u16) -> Command) -> Result<f64, String> {
    let (few, many) = (count(&command, FEW)?, count(&command, MANY)?);
    Ok((many - few) / (MANY - FEW) as f64)
}

fn count(command: &impl Fn(u16) -> Command, requests: u64) -> Result<f64, String> {
    let port = stage::free_address()
        .map_err(|error| error.to_string())?
        .port();
    let mut command = command(port);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| format!("valgrind cannot be run: {error}"))?;
    let asked = ask(&mut child, (port, requests));
    // Callgrind writes its sum when the program ends, by whatever signal.
    let _ = Command::new("kill").arg(child.id().to_string()).status();
    let output = child
        .wait_with_output()
        .map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    asked?;
    let line = said.lines().find_map(|line| line.split_once("Collected :"));
    let number = line.and_then(|(_, number)| number.trim().parse().ok());
    number.ok_or_else(|| format!("callgrind said: {said}"))
}

fn ask(child: &mut Child, (port, requests): (u16, u64)) -> Result<(), String> {
    for _ in 0..500 {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            let url = format!("http://127.0.0.1:{port}/");
            let args = ["--h1", "-c", "8", "-n", &requests.to_string()];
            return h2load(&args, &url).map(|_| ());
        }
        if let Ok(Some(status)) = child.try_wait() {
            return Err(format!("the counted program ended with {status}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err("the counted program does not listen".to_owned())
}
