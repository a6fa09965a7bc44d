-- Rows that decide carry an HMAC by the row-seal key in the HSM over all their other columns, see `sealed.rs`. version grows
-- with each change. A row without a seal is refused.
ALTER TABLE clients ADD COLUMN version INTEGER NOT NULL DEFAULT 0;
ALTER TABLE clients ADD COLUMN seal BLOB CHECK (length(seal) = 32);
ALTER TABLE credentials ADD COLUMN version INTEGER NOT NULL DEFAULT 0;
ALTER TABLE credentials ADD COLUMN seal BLOB CHECK (length(seal) = 32);
ALTER TABLE public_keys ADD COLUMN version INTEGER NOT NULL DEFAULT 0;
ALTER TABLE public_keys ADD COLUMN seal BLOB CHECK (length(seal) = 32);
ALTER TABLE configurations ADD COLUMN version INTEGER NOT NULL DEFAULT 0;
ALTER TABLE configurations ADD COLUMN seal BLOB CHECK (length(seal) = 32);
ALTER TABLE key_change_pairs ADD COLUMN version INTEGER NOT NULL DEFAULT 0;
ALTER TABLE key_change_pairs ADD COLUMN seal BLOB CHECK (length(seal) = 32);

-- One row: a digest of all seals above, sealed too, and the chain's position when it was made.
CREATE TABLE roll (
    number   INTEGER PRIMARY KEY CHECK (number = 1),
    digest   BLOB NOT NULL CHECK (length(digest) = 32),
    position INTEGER NOT NULL,
    version  INTEGER NOT NULL DEFAULT 0,
    seal     BLOB CHECK (length(seal) = 32)
) STRICT;
