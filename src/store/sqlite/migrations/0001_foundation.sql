-- Every table has an integer key of its own, in the order of creation: pages of lists follow it, and the ledger names
-- clients and configurations by one or two bytes instead of a UUID of sixteen.
-- Times are milliseconds since 1970, UTC.

CREATE TABLE clients (
    number       INTEGER PRIMARY KEY,
    id           BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    display_name TEXT NOT NULL,
    role         TEXT NOT NULL CHECK (role IN ('administrator', 'vending')),
    enabled      INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    created_ms   INTEGER NOT NULL,
    updated_ms   INTEGER NOT NULL
) STRICT;

-- A client may have several: rotating one doubles no token, since the ledger knows requests by client.
CREATE TABLE credentials (
    number        INTEGER PRIMARY KEY,
    key_id        TEXT NOT NULL UNIQUE,
    client        INTEGER NOT NULL REFERENCES clients (number),
    secret_sha256 BLOB NOT NULL CHECK (length(secret_sha256) = 32),
    enabled       INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    expires_ms    INTEGER,
    created_ms    INTEGER NOT NULL
) STRICT;

CREATE INDEX credentials_by_client ON credentials (client);

-- The keys of those who sign uploads. A key signs the uploads of the client that registered it, and of no other.
CREATE TABLE public_keys (
    number       INTEGER PRIMARY KEY,
    id           BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    owner        BLOB NOT NULL CHECK (length(owner) = 16),
    display_name TEXT NOT NULL,
    spki         BLOB NOT NULL,
    fingerprint  BLOB NOT NULL UNIQUE CHECK (length(fingerprint) = 32),
    bits         INTEGER NOT NULL CHECK (bits > 0),
    enabled      INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    created_ms   INTEGER NOT NULL,
    updated_ms   INTEGER NOT NULL
) STRICT;

-- No vending key: mask_ciphertext is useless without the mask key, which only the HSM holds.
CREATE TABLE configurations (
    number          INTEGER PRIMARY KEY,
    id              BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    fingerprint     BLOB NOT NULL UNIQUE CHECK (length(fingerprint) = 32),
    state           TEXT NOT NULL
                    CHECK (state IN ('IMPORTING', 'ENABLED', 'DISABLED', 'DESTROY_SCHEDULED', 'DESTROYED')),
    display_name    TEXT NOT NULL,
    iin             TEXT NOT NULL,
    sgc             TEXT NOT NULL CHECK (length(sgc) = 6),
    ti              INTEGER NOT NULL CHECK (ti BETWEEN 0 AND 99),
    krn             INTEGER NOT NULL CHECK (krn BETWEEN 1 AND 9),
    kt              INTEGER NOT NULL CHECK (kt BETWEEN 0 AND 3),
    ken             INTEGER NOT NULL CHECK (ken BETWEEN 0 AND 255),
    ea              INTEGER NOT NULL,
    dkga            INTEGER NOT NULL,
    base_date       INTEGER NOT NULL CHECK (base_date IN (1993, 2014, 2035)),
    key_length      INTEGER NOT NULL CHECK (key_length IN (8, 16, 20)),
    servable        INTEGER NOT NULL CHECK (servable IN (0, 1)),
    unservable      TEXT NOT NULL,           -- as warnings, empty exactly if servable
    warnings        TEXT NOT NULL,           -- JSON array of {"code", "message"}
    kcv             BLOB CHECK (length(kcv) = 3),
    mask_iv         BLOB CHECK (length(mask_iv) = 16),
    mask_ciphertext BLOB CHECK (length(mask_ciphertext) = 16),
    signer          BLOB NOT NULL CHECK (length(signer) = 16),
    uploaded_by     BLOB NOT NULL CHECK (length(uploaded_by) = 16),
    created_ms      INTEGER NOT NULL,
    updated_ms      INTEGER NOT NULL,
    CHECK ((mask_iv IS NULL) = (mask_ciphertext IS NULL)),
    CHECK (servable = (unservable = '[]')),
    -- Nothing issues without a servable key whose check value the HSM has confirmed.
    CHECK (state <> 'ENABLED' OR (servable = 1 AND kcv IS NOT NULL))
) STRICT;

-- The last TID of every meter that ever got one, for ever: whatever is deleted from the ledger, this stays.
-- pan is the 18 digits as a number.
CREATE TABLE meters (
    pan       INTEGER NOT NULL CHECK (pan BETWEEN 0 AND 999999999999999999),
    base_date INTEGER NOT NULL,
    last_tid  INTEGER NOT NULL CHECK (last_tid BETWEEN 0 AND 16777215),
    PRIMARY KEY (pan, base_date)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER meters_never_fall BEFORE UPDATE OF last_tid ON meters WHEN new.last_tid < old.last_tid
BEGIN
    SELECT RAISE(ABORT, 'the last TID of a meter never falls');
END;

CREATE TRIGGER meters_are_never_forgotten BEFORE DELETE ON meters
BEGIN
    SELECT RAISE(ABORT, 'the last TID of a meter is never forgotten');
END;

-- No TID at or below these is given any more, whatever the meter: raised when a restored database is accepted, because the
-- tokens that it has forgotten may have had them.
CREATE TABLE tid_floors (
    base_date INTEGER PRIMARY KEY,
    tid       INTEGER NOT NULL CHECK (tid BETWEEN 0 AND 16777215)
) STRICT;

CREATE TRIGGER tid_floors_never_fall BEFORE UPDATE OF tid ON tid_floors WHEN new.tid < old.tid
BEGIN
    SELECT RAISE(ABORT, 'a floor of TIDs never falls');
END;

-- One row: the chain of this database, how far it has come, and what its salts are made of.
-- requests_from_ms: request ids that were made before this instant and are not on record are refused: a restored database
-- may have forgotten them.
CREATE TABLE chain (
    one              INTEGER PRIMARY KEY CHECK (one = 1),
    id               BLOB NOT NULL CHECK (length(id) = 16),
    salt_source      BLOB NOT NULL CHECK (length(salt_source) = 32),
    position         INTEGER NOT NULL CHECK (position >= 0),
    hash             BLOB NOT NULL CHECK (length(hash) = 32),
    at_ms            INTEGER NOT NULL,
    requests_from_ms INTEGER NOT NULL
) STRICT;

-- The records of the chain that are no tokens: administrative acts, refusals, and what happened to the server.
CREATE TABLE acts (
    position   INTEGER PRIMARY KEY,
    at_ms      INTEGER NOT NULL,
    kind       TEXT NOT NULL,
    actor      BLOB CHECK (length(actor) = 16),
    credential TEXT,
    details    TEXT NOT NULL,
    hash       BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;

-- Signed heads of the chain, as text (see audit/checkpoint.rs).
CREATE TABLE checkpoints (
    number INTEGER PRIMARY KEY,
    text   TEXT NOT NULL
) STRICT;

-- The ledger. kind 1: credit and management tokens, with a TID. kind 2: class 1 tokens. kind 3: key-change sets.
-- block is the clear block with its CRC, 64 bits as a signed number; its class beside it. A key-change set is derived
-- again for every answer, because its block would hold parts of a key.
-- sequence is the position of the row's record in the chain, and hash the hash of that record: numbers grow in the order of
-- commits and are never given twice, and the numbers that are missing here are those of acts.
CREATE TABLE issued_tokens (
    sequence      INTEGER PRIMARY KEY,
    client        INTEGER NOT NULL REFERENCES clients (number),
    credential    INTEGER NOT NULL REFERENCES credentials (number),
    request_id    BLOB NOT NULL CHECK (length(request_id) = 16),
    request_hash  BLOB NOT NULL CHECK (length(request_hash) = 32),
    configuration INTEGER REFERENCES configurations (number),
    issued_ms     INTEGER NOT NULL,
    kind          INTEGER NOT NULL,
    pan           INTEGER,
    base_date     INTEGER,
    tid           INTEGER,
    rnd           INTEGER CHECK (rnd BETWEEN 0 AND 15),
    class         INTEGER CHECK (class BETWEEN 0 AND 2),
    block         INTEGER,
    target        INTEGER REFERENCES configurations (number),
    roll_over     INTEGER CHECK (roll_over IN (0, 1)),
    transfer_sgc  INTEGER CHECK (transfer_sgc IN (0, 1)),
    hash          BLOB NOT NULL CHECK (length(hash) = 32),
    CHECK (CASE kind
        WHEN 1 THEN configuration IS NOT NULL AND pan IS NOT NULL AND base_date IS NOT NULL AND tid IS NOT NULL
                    AND class IN (0, 2) AND block IS NOT NULL AND target IS NULL
        WHEN 2 THEN base_date IS NULL AND tid IS NULL AND rnd IS NULL
                    AND class = 1 AND block IS NOT NULL AND target IS NULL
        WHEN 3 THEN configuration IS NOT NULL AND pan IS NOT NULL AND tid IS NULL AND rnd IS NULL
                    AND class IS NULL AND block IS NULL
                    AND target IS NOT NULL AND roll_over IS NOT NULL AND transfer_sgc IS NOT NULL
        ELSE 0
    END)
) STRICT;

-- One request, one token. With UUIDv7 request ids new entries lie side by side.
CREATE UNIQUE INDEX issued_tokens_by_request ON issued_tokens (client, request_id);

-- No two tokens of one meter share a TID: whatever the committer may get wrong, the database refuses.
CREATE UNIQUE INDEX issued_tokens_by_meter ON issued_tokens (pan, base_date, tid) WHERE pan IS NOT NULL;

-- One row: what the health probe last wrote, which shows that the store takes writes.
CREATE TABLE heartbeat (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    at_ms INTEGER NOT NULL
) STRICT;
