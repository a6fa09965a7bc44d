-- Pairs of configurations between which meters may be carried.
CREATE TABLE key_change_pairs (
    number     INTEGER PRIMARY KEY,
    source     INTEGER NOT NULL REFERENCES configurations (number),
    target     INTEGER NOT NULL REFERENCES configurations (number),
    allowed_by INTEGER NOT NULL REFERENCES clients (number),
    created_ms INTEGER NOT NULL,
    UNIQUE (source, target),
    CHECK (source <> target)
) STRICT;

-- Looks into tokens that were not issued here, which failed or have not ended yet.
CREATE TABLE verification_failures (
    number INTEGER PRIMARY KEY,
    client INTEGER NOT NULL REFERENCES clients (number),
    pan    INTEGER NOT NULL,
    at_ms  INTEGER NOT NULL
) STRICT;

CREATE INDEX verification_failures_by_meter ON verification_failures (pan, at_ms);
CREATE INDEX verification_failures_by_client ON verification_failures (client, at_ms);
