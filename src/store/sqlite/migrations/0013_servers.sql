-- The server of the database: there is one. version and hsm_token are what it said of itself when it started last.
CREATE TABLE server (
    one       INTEGER PRIMARY KEY CHECK (one = 1),
    name      TEXT NOT NULL,
    version   TEXT,
    hsm_token TEXT
) STRICT;

-- Positions of the chains of other servers, of which an embedded database has none.
ALTER TABLE roll ADD COLUMN other_positions TEXT;
