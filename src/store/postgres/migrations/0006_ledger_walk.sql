-- One row: how far the ledger was walked, and what was found there and accepted, as JSON under a seal.
CREATE TABLE ledger_walk (
    number   bigint PRIMARY KEY DEFAULT 1 CHECK (number = 1),
    state    text NOT NULL,
    version  bigint NOT NULL DEFAULT 0,
    seal_key bytea CHECK (octet_length(seal_key) = 8),
    seal     bytea CHECK (octet_length(seal) = 32)
) WITH (fillfactor = 50);
