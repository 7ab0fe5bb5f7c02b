//! Inspects a database that a server may be using.

use super::db::check;
use rusqlite::{Connection, OpenFlags, Result};
use std::path::Path;

/// The state of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The first damage that a check of every page finds; `None` if there is none.
    pub damage: Option<String>,
    /// Sessions that have not ended.
    pub live: i64,
    /// Sessions that have ended.
    pub ended: i64,
}

/// Inspects a database without writing to it.
///
/// # Errors
/// It cannot be read, or it belongs to another program.
pub fn inspect(path: &Path) -> Result<Inspection> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let damage = Some(check(&conn)?).filter(|found| found != "ok");
    let count = "SELECT COUNT(*) - COUNT(ended_at), COUNT(ended_at) FROM sessions";
    let (live, ended) = conn.query_row(count, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Inspection { damage, live, ended })
}
