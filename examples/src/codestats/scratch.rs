//! A folder for one test, removed when the test ends.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;

/// The folder; dropping it removes it with all it holds.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// A new folder; `name` tells the tests of one process apart.
    pub(crate) fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("codestats-{}-{name}", process::id()));
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file below the folder, and the folders in between.
    pub(crate) fn write(&self, path: &str, content: &[u8]) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing to be done in a test that is over.
        let _ = fs::remove_dir_all(&self.0);
    }
}
