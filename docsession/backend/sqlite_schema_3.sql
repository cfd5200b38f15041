-- Schema 3: which process does a write; the comments of watched documents.

ALTER TABLE journal ADD COLUMN node TEXT NOT NULL DEFAULT '';

-- One row for each comment, deleted ones included; the row with the empty id says when they were looked at.
CREATE TABLE comments (
    file_id TEXT NOT NULL REFERENCES documents ON DELETE CASCADE,
    id TEXT NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (file_id, id)
) STRICT, WITHOUT ROWID;
