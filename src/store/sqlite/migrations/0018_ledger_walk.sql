-- One row: how far the ledger was walked, and what was found there and accepted, as JSON under a seal.
CREATE TABLE ledger_walk (
    number   INTEGER PRIMARY KEY CHECK (number = 1),
    state    TEXT NOT NULL,
    version  INTEGER NOT NULL DEFAULT 0,
    seal_key BLOB CHECK (length(seal_key) = 8),
    seal     BLOB CHECK (length(seal) = 32)
) STRICT;
