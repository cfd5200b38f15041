-- Schema 2: push channels, by which Google tells us that something of a user's changed; and what was
-- spent today.

-- "id" is the name we gave it; the highest "generation" is the user's newest. "sealed" is Google's
-- name for what is watched, and what became of the channel.
CREATE TABLE channels (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    generation INTEGER NOT NULL,
    expires REAL NOT NULL,
    sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX channels_by_user ON channels (user_id, generation);
CREATE INDEX channels_by_expires ON channels (expires);

-- What was spent of the quota of a day; a day is California's, as Google counts.
CREATE TABLE spent (
    day TEXT PRIMARY KEY,
    units INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
