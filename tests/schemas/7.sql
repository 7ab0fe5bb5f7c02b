-- What stayd keeps in stayd.db. Times are RFC 3339, UTC, with milliseconds, so that they
-- sort as text.
--
-- The version of this schema: raise it with every change, and say in src/store/migrations.rs how the
-- one before becomes this one. Versions 1 to 5 were never released.
PRAGMA user_version = 7;

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
    idle_timeout_before_s  INTEGER,                   -- what a session had that is now kept for good
    idle_when              TEXT NOT NULL DEFAULT 'detached'
        CHECK (idle_when IN ('detached', 'detached_and_quiet')),
    first_attach_timeout_s INTEGER,                   -- NULL: no limit
    labels                 TEXT NOT NULL,             -- JSON object of strings
    title                  TEXT,
    output_offset          INTEGER NOT NULL,          -- bytes of output, as of updated_at
    size_policy            TEXT NOT NULL DEFAULT 'latest'
        CHECK (size_policy IN ('latest', 'smallest', 'fixed')),
    env                    TEXT NOT NULL DEFAULT '{}', -- JSON object: what the creator added
    -- Whether and when its command is started again under this id.
    restart                TEXT NOT NULL DEFAULT 'never'
        CHECK (restart IN ('never', 'on-failure', 'always')),
    restarts               INTEGER NOT NULL DEFAULT 0,
    restart_at             TEXT,
    restart_streak         INTEGER NOT NULL DEFAULT 0, -- restarts in a row that did not last
    started_at             TEXT,                      -- its process; NULL: as created_at
    recording              TEXT NOT NULL DEFAULT 'off'
        CHECK (recording IN ('off', 'output', 'all')),
    -- The Idempotency-Key of the request that made it, and what that request was.
    idempotency_key        TEXT,
    idempotency_of         TEXT,
    owner                  TEXT,                      -- name of the principal that created it
    owner_token            TEXT,                      -- which token of that name (UUID); NULL: none
    attention              TEXT,                      -- JSON: what its program does
    report                 TEXT                       -- JSON: by which report; NULL: by none
) STRICT, WITHOUT ROWID;

-- Only live sessions compete for names.
CREATE UNIQUE INDEX sessions_live_name ON sessions (name)
    WHERE status IN ('RUNNING', 'ACTIVE', 'IDLE') AND name IS NOT NULL;
CREATE UNIQUE INDEX sessions_idempotency_key ON sessions (idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX sessions_restart_at ON sessions (restart_at) WHERE restart_at IS NOT NULL;
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
    active_connections INTEGER NOT NULL,
    -- Who asked for it; NULL where nobody did (a timer, an exit).
    caused_by          TEXT,                          -- a token's name
    address            TEXT                           -- of the client
) STRICT;

CREATE INDEX transitions_session ON transitions (session_id, seq);

-- What ended sessions showed last.
CREATE TABLE screens (
    session_id TEXT NOT NULL PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
    at_offset  INTEGER NOT NULL,                      -- bytes of output that it shows
    cols       INTEGER NOT NULL,
    rows       INTEGER NOT NULL,
    snapshot   BLOB NOT NULL                          -- escape sequences, compressed (LZ4)
) STRICT, WITHOUT ROWID;

-- Rights. Of every secret only its SHA-256 is here (32 bytes): nobody learns one from this file.

CREATE TABLE tokens (
    name       TEXT NOT NULL PRIMARY KEY,
    digest     BLOB NOT NULL UNIQUE,
    role       TEXT NOT NULL CHECK (role IN ('viewer', 'controller', 'admin')),
    scope      TEXT NOT NULL,                         -- JSON: "all", "own", {"sessions": [id]}, {"labels": {}}
    created_at TEXT NOT NULL,
    created_by TEXT NOT NULL,                         -- name of a principal
    expires_at TEXT                                   -- NULL: never
) STRICT, WITHOUT ROWID;

CREATE TABLE shares (
    id               TEXT NOT NULL PRIMARY KEY,       -- UUID v7
    session_id       TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    digest           BLOB NOT NULL UNIQUE,
    mode             TEXT NOT NULL CHECK (mode IN ('ro', 'rw')),
    created_at       TEXT NOT NULL,
    created_by       TEXT NOT NULL,                   -- name of a principal
    created_by_token TEXT,                            -- which token of that name (UUID); NULL: the owner
    expires_at       TEXT                             -- NULL: with the session's row
) STRICT, WITHOUT ROWID;

CREATE INDEX shares_session ON shares (session_id);

-- Browsers that are logged in. A login ends with the secret that it was made with.
CREATE TABLE logins (
    digest     BLOB NOT NULL PRIMARY KEY,             -- of the cookie
    subject    TEXT NOT NULL,                         -- owner, admin:HEX, token:HEX, share:HEX
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Browsers that are told by web push. An endpoint alone is of no use: sending to it takes the server's key,
-- which is not in this file.
CREATE TABLE push_subscriptions (
    id         TEXT NOT NULL PRIMARY KEY,             -- UUID
    subject    TEXT NOT NULL,                         -- as in logins: it ends with that secret …
    login      BLOB,                                  -- … and with this login; NULL: made without one
    endpoint   TEXT NOT NULL UNIQUE,                  -- where the browser is reached
    p256dh     TEXT NOT NULL,                         -- the browser's keys
    auth       TEXT NOT NULL,
    created_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What was done, and what was refused.
CREATE TABLE audit (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    at         TEXT NOT NULL,
    principal  TEXT,                                  -- NULL: nobody known
    address    TEXT,                                  -- of the client; "local": the unix socket
    action     TEXT NOT NULL,
    session_id TEXT,                                  -- outlives the session
    outcome    TEXT NOT NULL CHECK (outcome IN ('done', 'refused', 'failed')),
    detail     TEXT
) STRICT;

CREATE INDEX audit_at ON audit (at);

-- What hooks still have to deliver. It outlives the session.
CREATE TABLE deliveries (
    seq        INTEGER PRIMARY KEY,                   -- the order
    hook       TEXT NOT NULL,                         -- its key in the settings
    session_id TEXT NOT NULL,
    word       TEXT NOT NULL,                         -- blocked, done, ended, error
    event_id   TEXT NOT NULL,
    payload    TEXT NOT NULL,                         -- JSON: the event
    attempts   INTEGER NOT NULL
) STRICT;

-- The live sessions that hooks follow: what is missing here after a crash is told again.
CREATE TABLE followed_sessions (
    session_id TEXT NOT NULL PRIMARY KEY,
    since      TEXT                                   -- of the last state that they know
) STRICT, WITHOUT ROWID;
