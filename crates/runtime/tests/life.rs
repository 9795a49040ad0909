//! Every case of the drivers, each in a worker of a supervisor of its own.

use std::process::Command;

fn run(case: &str) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let output = Command::new(env!("CARGO_BIN_EXE_runtime-stage"))
        .arg("server")
        .arg(directory.path())
        .arg(case)
        .output()
        .expect("the stage runs");
    // A case that kills its supervisor tells by this file a moment later.
    let passed = directory.path().join("passed");
    for _ in 0..1000 {
        if passed.exists() || output.status.code().is_some() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let told = std::fs::read_to_string(passed).unwrap_or_default();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(told, case, "{:?}\n{said}", output.status);
}

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            run(stringify!($name));
        })*

        #[test]
        fn no_case_is_left_out() {
            let stage = Command::new(env!("CARGO_BIN_EXE_runtime-stage")).arg("cases").output();
            let known = stage.expect("the stage runs").stdout;
            let known = String::from_utf8(known).expect("names are text");
            assert_eq!(known.lines().collect::<Vec<_>>(), [$(stringify!($name)),*]);
        }
    };
}

cases![
    a_repeated_start_returns_the_same_instance,
    an_end_is_told_and_kept_until_acknowledged,
    a_running_instance_cannot_be_acknowledged,
    a_key_nobody_has_is_an_error,
    a_program_that_does_not_exist_is_an_error,
    output_is_taken_from_the_beginning,
    a_signal_reaches_the_whole_group,
    a_kill_leaves_nothing_behind,
    the_environment_is_what_was_asked_for,
    the_owner_of_a_port_is_told,
    an_exec_probe_passes_with_zero_and_leaves_no_trace,
    a_failed_exec_probe_shows_its_output,
    an_exec_probe_that_hangs_is_killed_with_its_group,
    an_exec_probe_that_does_not_exist_says_so,
    abandoned_probes_are_ended,
    an_instance_may_close_its_output,
    a_line_of_ten_megabytes_is_kept_in_parts,
    a_flood_without_line_ends_does_not_hold_up_the_program,
    a_memory_limit_holds,
    a_dead_supervisor_is_told_and_changes_are_refused,
];
