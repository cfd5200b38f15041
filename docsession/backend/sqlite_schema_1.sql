-- docsession's embedded store, schema 1.
--
-- Times are seconds since the epoch. A column "sealed" (and "outcome") is encrypted and bound to
-- its row. Whoever holds a session id or a sign-in state holds a key to somebody's session, so
-- these are found by their SHA-256 and stand here in no other readable form.

PRAGMA application_id = 0x646F6373;

-- Which schema this file has: one row.
CREATE TABLE version (
    version INTEGER NOT NULL
) STRICT;

INSERT INTO version VALUES (1);

-- Whose store this is: Google's issuer and our client id.
CREATE TABLE stamp (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Written to see whether writing works: one row.
CREATE TABLE pulse (
    at REAL NOT NULL
) STRICT;

INSERT INTO pulse VALUES (0);

-- Browser sessions. "sealed" is the id itself.
CREATE TABLE sessions (
    hash BLOB PRIMARY KEY,
    sealed BLOB NOT NULL,
    issued REAL NOT NULL,
    last_seen REAL NOT NULL,
    user_id TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_by_user ON sessions (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX sessions_by_issued ON sessions (issued);
CREATE INDEX sessions_by_last_seen ON sessions (last_seen);

-- Session ids that must never live again, kept until no cookie can carry them any more.
CREATE TABLE retired (
    hash BLOB PRIMARY KEY,
    until REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX retired_by_until ON retired (until);

-- Sign-ins on their way through Google, each taken out once.
CREATE TABLE sign_in_states (
    hash BLOB PRIMARY KEY,
    session BLOB NOT NULL,  -- the hash of the session that asked
    expires REAL NOT NULL,
    sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sign_in_states_by_session ON sign_in_states (session);
CREATE INDEX sign_in_states_by_expires ON sign_in_states (expires);

-- Google accounts and what each allowed us. The three do not demand one another: each is saved
-- when it is known.
CREATE TABLE users (
    user_id TEXT PRIMARY KEY,
    sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE grants (
    user_id TEXT PRIMARY KEY,
    sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Users without a browser session, and since when.
CREATE TABLE orphans (
    user_id TEXT PRIMARY KEY,
    since REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX orphans_by_since ON orphans (since);

-- Writes about to be sent (no outcome) or answered. "hash" covers session, connection, call id
-- and digest.
CREATE TABLE journal (
    hash BLOB PRIMARY KEY,
    socket TEXT NOT NULL,
    begun REAL NOT NULL,
    outcome BLOB
) STRICT;

CREATE INDEX journal_by_begun ON journal (begun);

-- Last known states of watched documents, and who saw them when.
CREATE TABLE documents (
    file_id TEXT PRIMARY KEY,
    as_of REAL NOT NULL,
    sealed BLOB NOT NULL
) STRICT;

CREATE INDEX documents_by_as_of ON documents (as_of);

CREATE TABLE proofs (
    file_id TEXT NOT NULL REFERENCES documents ON DELETE CASCADE,
    user_id TEXT NOT NULL,
    document_at REAL NOT NULL,
    comments_at REAL NOT NULL,
    PRIMARY KEY (file_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX proofs_by_user ON proofs (user_id);
