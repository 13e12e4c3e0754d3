//! A SQLite file in the folder of its place, seen from outside the program.

use std::path::{Path, PathBuf};

/// The file that the program makes where nothing else is said.
pub struct Store {
    folder: PathBuf,
}

impl Store {
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.join(".testledger") }
    }

    /// What names it; none, as it is the default.
    pub fn setting(&self) -> Option<&str> {
        None
    }

    pub fn file(&self) -> PathBuf {
        self.folder.join("ledger.db")
    }

    /// Whether a log was made.
    pub fn has_log(&self) -> bool {
        self.file().exists()
    }

    /// Whether nothing was made at all.
    pub fn is_untouched(&self) -> bool {
        !self.folder.exists()
    }

    /// Everything it holds, with names.
    pub fn contents(&self) -> Vec<(String, Vec<u8>)> {
        let files = std::fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().path());
        // The leases of engines stand in a folder of their own; those of engines that have ended are gone.
        let files = files.filter(|path| path.is_file());
        files.map(|path| (path.display().to_string(), std::fs::read(path).unwrap())).collect()
    }

    /// Puts another word in the place of one as long, in every commit, behind the program's back. Says in how many.
    pub fn overwrite(&self, word: &str, other: &str) -> usize {
        let sql = "UPDATE commits SET json = replace(json, ?1, ?2) WHERE instr(json, ?1) > 0";
        self.connection().execute(sql, [word, other]).unwrap()
    }

    /// Gives one stored view of an execution another label, behind the program's back.
    pub fn change_a_view(&self) {
        let db = self.connection();
        let checkpoint =
            "SELECT printf('view_executions_v%d_%d', version, build) FROM view_builds WHERE name = 'executions'";
        let table: String = db.query_row(checkpoint, [], |row| row.get(0)).unwrap();
        let sql = format!("UPDATE {table} SET view = json_set(view, '$.actor', 'another') WHERE parent_id IS NULL");
        assert_eq!(db.execute(&sql, []).unwrap(), 1);
    }

    pub fn connection(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.file()).unwrap()
    }
}
