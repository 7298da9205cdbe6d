//! Compiler messages for common mistakes: they name no internals, and say what to do.

use std::fs;
use std::path::Path;
use std::process::Command;

/// For each program: its name, its code, and lines that the compiler must print.
const PROGRAMS: &[(&str, &str, &[&str])] = &[
    (
        "value",
        "procession::Process::new().spawn_thread(|_| 42)",
        &[
            "error[E0277]: a body or a teardown cannot return `{integer}`",
            "= note: bodies and teardowns return `()` or a `Result<(), E>`, for which `E: Into<Box<dyn Error + Send + \
             Sync>>`",
            "= note: for a body with a value, call `spawn_task` or `spawn_task_thread`",
        ],
    ),
    (
        "async_value",
        "procession::Process::new().spawn(|_| async { Ok::<u8, procession::Error>(42) })",
        &[
            "error[E0277]: a body or a teardown cannot return `Result<u8, procession::Error>`",
            "= note: for a body with a value, call `spawn_task` or `spawn_task_thread`",
        ],
    ),
    (
        "teardown",
        "procession::Process::new().set_teardown(|| true)",
        &["error[E0277]: a body or a teardown cannot return `bool`"],
    ),
    (
        "task",
        "procession::Process::new().spawn_task_thread(|_| 42)",
        &["error[E0308]: mismatched types", "expected `Result<_, _>`, found integer"],
    ),
    (
        "spawner",
        "procession::Process::builder().spawner(\"threads\").build()",
        &[
            "error[E0277]: `&str` is not a spawner",
            "= note: spawners are `Threads`, `Inline`, closures that are `Fn(Job) + Send + Sync + 'static`, and types \
             that implement `Spawn`",
        ],
    ),
    (
        "clock",
        "procession::Periodic::every(std::time::Duration::MAX).clock(std::time::Instant::now())",
        &[
            "Instant` is not a clock",
            "= note: clocks are `SystemClock`, `ManualClock` for tests, and types that implement `Clock`",
        ],
    ),
    (
        "unused",
        "procession::Process::new().closed()",
        &[
            "error: unused return value of",
            "closed` that must be used",
            "= note: this makes a waiter: `.await` it, or call `wait`; `is_closed` looks without waiting",
        ],
    ),
];

#[test]
fn compiler_messages_say_what_to_do() {
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("messages");
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::create_dir_all(package.join("src/bin")).unwrap();
    fs::copy(here.join("../Cargo.lock"), package.join("Cargo.lock")).unwrap();
    let core = here.join("../crates/procession");
    let manifest = format!(
        "[package]\nname = \"messages\"\nedition = \"2024\"\n[workspace]\n[dependencies]\nprocession.path = {core:?}\n"
    );
    fs::write(package.join("Cargo.toml"), manifest).unwrap();
    for (name, code, _) in PROGRAMS {
        let program = format!("#![deny(unused_must_use)]\nfn main() {{\n    {code};\n}}\n");
        fs::write(package.join(format!("src/bin/{name}.rs")), program).unwrap();
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["check", "--offline", "--bins", "--keep-going", "--color=never"]);
    let output = cargo.current_dir(&package).env("CARGO_TARGET_DIR", package.join("target"));
    let output = output.env_remove("RUSTFLAGS").output().unwrap();
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{printed}");
    for (name, code, expected) in PROGRAMS {
        for line in *expected {
            assert!(printed.contains(line), "{name}: `{code}` does not print `{line}`:\n{printed}");
        }
    }
    for internal in ["sealed", "Sealed", "Never"] {
        assert!(!printed.contains(internal), "{printed}");
    }
}
