use std::{
    env, fs,
    path::PathBuf,
    process,
    sync::atomic::{AtomicUsize, Ordering},
};

/// A folder for the files of one test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static FOLDERS: AtomicUsize = AtomicUsize::new(0);
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("towerkit-auth-cedar-{}-{number}", process::id());
        let folder = env::temp_dir().join(name);
        fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file and renames it, so that a reader finds the old or the new contents.
    pub(crate) fn write(&self, name: &str, contents: &str) -> PathBuf {
        let (new, path) = (self.path("new"), self.path(name));
        fs::write(&new, contents).unwrap();
        fs::rename(&new, &path).unwrap();
        path
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that is left in the temporary folder harms no later test.
        let _ = fs::remove_dir_all(&self.0);
    }
}
