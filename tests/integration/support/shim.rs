//! `shim.c`, compiled once, and what it is told through the environment.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// Kept until the test program ends, and then left to the temporary directory's keeper.
static SHIM: LazyLock<PathBuf> = LazyLock::new(|| {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/support/shim.c");
    let shim = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shim.so");
    let fresh = shim.with_extension(std::process::id().to_string());
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
        .args([&fresh, &source])
        .arg("-ldl")
        .status()
        .expect("cc, which SQLite is compiled with too");
    assert!(compiled.success());
    // Other runs may have it loaded: a file is replaced, never written over.
    std::fs::rename(&fresh, &shim).expect("shim.so");
    shim
});

fn with(name: &str, value: String) -> Vec<(String, String)> {
    let shim = SHIM.display().to_string();
    vec![("LD_PRELOAD".to_owned(), shim), (name.to_owned(), value)]
}

/// The server dies at its n-th change of the database's files.
pub fn kill_at(n: usize) -> Vec<(String, String)> {
    with("STAYD_SHIM_KILL_AT", n.to_string())
}

/// The disk takes nothing of the database while this file exists.
pub fn hang_while(exists: &Path) -> Vec<(String, String)> {
    with("STAYD_SHIM_HANG", exists.display().to_string())
}

/// A wall clock that can be set, also while the server runs.
pub struct Clock(tempfile::NamedTempFile);

impl Clock {
    pub fn new() -> Self {
        let clock = Clock(tempfile::NamedTempFile::new().expect("a file"));
        clock.set(0);
        clock
    }

    /// By so many seconds it is ahead of the real one.
    pub fn set(&self, ahead: i64) {
        use std::os::unix::fs::FileExt;
        self.0.as_file().write_all_at(&ahead.to_ne_bytes(), 0).expect("written");
    }

    pub fn env(&self) -> Vec<(String, String)> {
        with("STAYD_SHIM_CLOCK", self.0.path().display().to_string())
    }
}
