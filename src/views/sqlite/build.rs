//! The tables of one fold from the first event, and the row that names them.

use rusqlite::{CachedStatement, Connection, OptionalExtension, Transaction, params};
use testledger_projections::ports::Checkpoint;
use testledger_projections::projection::Projection;

use crate::views::slot::Slot;
use crate::views::sqlite::{Fault, Tabled};

/// The rows of the checkpoints, one for each projection and slot.
pub(super) const CHECKPOINTS: &str = "
    CREATE TABLE IF NOT EXISTS view_builds (
        name TEXT PRIMARY KEY NOT NULL, version INTEGER NOT NULL, build INTEGER NOT NULL, checkpoint TEXT NOT NULL
    ) STRICT;
";

/// The tables of a build. In SQL, `@` stands for the beginning of their names.
pub struct Build<'a> {
    connection: &'a Connection,
    prefix: String,
}

impl<'a> Build<'a> {
    fn of<P: Projection>(connection: &'a Connection, number: u64) -> Self {
        Self { connection, prefix: prefix_of::<P>(number) }
    }

    /// A statement over these tables.
    pub(super) fn prepare(&self, sql: &str) -> rusqlite::Result<CachedStatement<'a>> {
        self.connection.prepare_cached(&self.sql(sql))
    }

    fn sql(&self, sql: &str) -> String {
        sql.replace('@', &self.prefix)
    }
}

/// What the row of a slot says, to this version of the projection.
pub(super) struct State {
    /// How far the views have come; the start, where there are none of this version.
    pub(super) checkpoint: Checkpoint,
    /// The number of the tables; 0 where there are none of this version.
    pub(super) number: u64,
}

impl State {
    /// Reads the row of a slot.
    pub(super) fn read<P: Projection>(connection: &Connection, slot: Slot) -> Result<Self, Fault> {
        let sql = "SELECT version, build, checkpoint FROM view_builds WHERE name = ?1";
        let mut statement = connection.prepare_cached(sql)?;
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let stored: Option<(u32, i64, String)> = statement.query_row([slot.key::<P>()], row).optional()?;
        let Some((version, number, json)) = stored else {
            return Ok(Self { checkpoint: Checkpoint::START, number: 0 });
        };
        let number = number.cast_unsigned();
        let checkpoint: Checkpoint = serde_json::from_str(&json)?;
        if version == P::VERSION && checkpoint.position > 0 {
            Ok(Self { checkpoint, number })
        } else {
            // What was read of another version says nothing of this one but whose turn it is.
            let paused = checkpoint.paused.clone().filter(|_| version == P::VERSION);
            Ok(Self { checkpoint: Checkpoint { paused, ..checkpoint.at_start() }, number: 0 })
        }
    }

    /// The tables with the views, if there are any.
    pub(super) fn build<'a, P: Projection>(&self, connection: &'a Connection) -> Option<Build<'a>> {
        (self.number > 0).then(|| Build::of::<P>(connection, self.number))
    }

    /// Writes the row of a slot.
    pub(super) fn write<P: Projection>(&self, transaction: &Transaction<'_>, slot: Slot) -> Result<(), Fault> {
        let sql = "INSERT INTO view_builds (name, version, build, checkpoint) VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT (name) DO UPDATE
                   SET version = excluded.version, build = excluded.build, checkpoint = excluded.checkpoint";
        let json = serde_json::to_string(&self.checkpoint)?;
        let number = self.number.cast_signed();
        transaction.prepare_cached(sql)?.execute(params![slot.key::<P>(), P::VERSION, number, json])?;
        Ok(())
    }
}

/// Makes the tables for a fold from the first event, and drops those that no row names besides.
pub(super) fn begin<P: Tabled>(transaction: &Transaction<'_>, slot: Slot) -> Result<u64, Fault> {
    let number = slot.next(all::<P>(transaction)?.into_iter().map(|(number, _)| number));
    let build = Build::of::<P>(transaction, number);
    transaction.execute_batch(&build.sql(P::TABLES))?;
    Ok(number)
}

/// Drops the tables that no row names: text that was erased since may stand in them.
pub(super) fn drop_unnamed<P: Projection>(transaction: &Transaction<'_>) -> Result<(), Fault> {
    let mut named = vec![];
    for slot in Slot::ALL {
        named.push(State::read::<P>(transaction, slot)?.number);
    }
    for (number, table) in all::<P>(transaction)? {
        if !named.contains(&number) {
            transaction.execute_batch(&format!("DROP TABLE \"{table}\""))?;
        }
    }
    Ok(())
}

fn prefix_of<P: Projection>(number: u64) -> String {
    format!("view_{}_v{}_{number}", P::NAME, P::VERSION)
}

/// All tables of a projection, of whatever version, with the numbers of their builds.
fn all<P: Projection>(connection: &Connection) -> Result<Vec<(u64, String)>, Fault> {
    let mut statement = connection.prepare_cached("SELECT name FROM sqlite_schema WHERE type = 'table'")?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?;
    let mut found = vec![];
    for name in names {
        let name = name?;
        if let Some(number) = number_in::<P>(&name) {
            found.push((number, name));
        }
    }
    Ok(found)
}

fn number_in<P: Projection>(table: &str) -> Option<u64> {
    let (version, rest) = table.strip_prefix("view_")?.strip_prefix(P::NAME)?.strip_prefix("_v")?.split_once('_')?;
    version.parse::<u32>().ok()?;
    rest.split('_').next()?.parse().ok()
}
