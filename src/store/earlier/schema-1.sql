-- What stayd keeps in stayd.db. Times are RFC 3339, UTC, with milliseconds, so that they
-- sort as text. This is the schema as of user_version 1 (see src/store/db.rs).

CREATE TABLE sessions (
    id                     TEXT NOT NULL PRIMARY KEY, -- UUID v7: sorts by time of creation
    name                   TEXT,
    profile                TEXT,
    command                TEXT NOT NULL,             -- JSON array: program and arguments
    cwd                    TEXT NOT NULL,
    status                 TEXT NOT NULL
        CHECK (status IN ('RUNNING', 'ACTIVE', 'IDLE', 'TERMINATED', 'ERROR')),
    active_connections     INTEGER NOT NULL,
    created_at             TEXT NOT NULL,
    updated_at             TEXT NOT NULL,
    last_activity_at       TEXT NOT NULL,
    destroy_at             TEXT,
    ended_at               TEXT,
    end_reason             TEXT,
    exit_code              INTEGER,
    exit_signal            INTEGER,
    -- An end that was decided, written before its first signal is sent.
    ending_reason          TEXT,
    ending_since           TEXT,
    -- The leader. A pid alone may be somebody else's by now.
    pid                    INTEGER,
    pid_start_time         INTEGER,                   -- clock ticks since boot
    boot_id                TEXT,
    cols                   INTEGER NOT NULL,
    rows                   INTEGER NOT NULL,
    idle_timeout_s         INTEGER,                   -- NULL: never
    first_attach_timeout_s INTEGER,                   -- NULL: no limit
    labels                 TEXT NOT NULL,             -- JSON object of strings
    title                  TEXT,
    output_offset          INTEGER NOT NULL           -- bytes of output, as of updated_at
) STRICT, WITHOUT ROWID;

-- Only live sessions compete for names.
CREATE UNIQUE INDEX sessions_live_name ON sessions (name)
    WHERE status IN ('RUNNING', 'ACTIVE', 'IDLE') AND name IS NOT NULL;
CREATE INDEX sessions_status ON sessions (status);
CREATE INDEX sessions_destroy_at ON sessions (destroy_at) WHERE destroy_at IS NOT NULL;
CREATE INDEX sessions_last_activity_at ON sessions (last_activity_at);

CREATE TABLE transitions (
    -- AUTOINCREMENT: a number is not used again after a purge.
    seq                INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id         TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    at                 TEXT NOT NULL,
    from_status        TEXT,                          -- NULL for the creation
    to_status          TEXT NOT NULL,
    reason             TEXT NOT NULL,
    active_connections INTEGER NOT NULL
) STRICT;

CREATE INDEX transitions_session ON transitions (session_id, seq);
