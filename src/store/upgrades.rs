//! What brings a database of an earlier version up to date.

/// Brings a database of version n + 1 to the next one, for each n.
pub(super) const UPGRADES: [&str; 1] = [TO_2];

const TO_2: &str = "
    ALTER TABLE sessions ADD COLUMN size_policy TEXT NOT NULL DEFAULT 'latest'
        CHECK (size_policy IN ('latest', 'smallest', 'fixed'));
    ALTER TABLE sessions ADD COLUMN env TEXT NOT NULL DEFAULT '{}';
    ALTER TABLE sessions ADD COLUMN restart TEXT NOT NULL DEFAULT 'never'
        CHECK (restart IN ('never', 'on-failure', 'always'));
    ALTER TABLE sessions ADD COLUMN restarts INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE sessions ADD COLUMN restart_at TEXT;
    ALTER TABLE sessions ADD COLUMN restart_streak INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE sessions ADD COLUMN started_at TEXT;
    ALTER TABLE sessions ADD COLUMN recording TEXT NOT NULL DEFAULT 'off'
        CHECK (recording IN ('off', 'output', 'all'));
    ALTER TABLE sessions ADD COLUMN idempotency_key TEXT;
    ALTER TABLE sessions ADD COLUMN idempotency_of TEXT;
    CREATE UNIQUE INDEX sessions_idempotency_key ON sessions (idempotency_key)
        WHERE idempotency_key IS NOT NULL;
    CREATE INDEX sessions_restart_at ON sessions (restart_at) WHERE restart_at IS NOT NULL;
    ALTER TABLE transitions ADD COLUMN caused_by TEXT;
    ALTER TABLE transitions ADD COLUMN address TEXT;
    CREATE TABLE screens (
        session_id TEXT NOT NULL PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
        at_offset  INTEGER NOT NULL,
        cols       INTEGER NOT NULL,
        rows       INTEGER NOT NULL,
        snapshot   BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
";
