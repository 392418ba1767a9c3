//! Sees that files were replaced: by what the file system says of them, which works on every kind of it.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// What changes when a file does: its place, its size, its times. None: it isn't there.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

/// Files, and how they were when they were last looked at.
#[derive(Debug, Default)]
pub(super) struct Watch {
    files: Vec<(PathBuf, Stamp)>,
}

impl Watch {
    /// On these files, as they are now.
    pub(super) fn on<'a>(files: impl IntoIterator<Item = &'a Path>) -> Self {
        Self { files: files.into_iter().map(|file| (file.to_owned(), stamp(file))).collect() }
    }

    /// Whether any is another than at the last look.
    pub(super) fn look(&mut self) -> bool {
        let mut changed = false;
        for (file, known) in &mut self.files {
            let now = stamp(file);
            changed |= *known != now;
            *known = now;
        }
        changed
    }
}

fn stamp(file: &Path) -> Stamp {
    let data = fs::metadata(file).ok()?;
    Some((data.dev(), data.ino(), data.size(), data.mtime(), data.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_replaced_written_or_removed_is_seen_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.pem");
        let mut watch = Watch::on([&*file]);
        assert!(!watch.look());
        fs::write(&file, "one").unwrap();
        assert!(watch.look() && !watch.look());
        let other = folder.path().join("b.pem");
        fs::write(&other, "two").unwrap();
        fs::rename(&other, &file).unwrap();
        assert!(watch.look() && !watch.look());
        fs::remove_file(&file).unwrap();
        assert!(watch.look() && !watch.look());
    }
}
