-- Schema 3: which process does a write, and what each spent; the comments of watched documents.

ALTER TABLE journal ADD COLUMN node TEXT NOT NULL DEFAULT '';

-- One row for each comment, deleted ones included; the row with the empty id says when they were looked at.
CREATE TABLE comments (
    file_id TEXT NOT NULL REFERENCES documents ON DELETE CASCADE,
    id TEXT NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (file_id, id)
) STRICT, WITHOUT ROWID;

-- Of each day, what each node spent.
CREATE TABLE spent_by_node (
    day TEXT NOT NULL,
    node TEXT NOT NULL,
    units INTEGER NOT NULL,
    PRIMARY KEY (day, node)
) STRICT, WITHOUT ROWID;
INSERT INTO spent_by_node (day, node, units) SELECT day, '', units FROM spent;
DROP TABLE spent;
ALTER TABLE spent_by_node RENAME TO spent;
