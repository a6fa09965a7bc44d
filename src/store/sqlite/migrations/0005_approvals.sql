-- Acts that wait for more than one person. method and request are the call as it will be done; content_sha256 is taken over them, the
-- summary, the requester and the salt (access/approval.rs), and every vote names it.
CREATE TABLE approvals (
    number         INTEGER PRIMARY KEY,
    id             BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    requester      INTEGER NOT NULL REFERENCES clients (number),
    credential     TEXT NOT NULL,
    method         TEXT NOT NULL,
    request        BLOB NOT NULL,
    summary        TEXT NOT NULL,
    salt           BLOB NOT NULL CHECK (length(salt) = 16),
    content_sha256 BLOB NOT NULL CHECK (length(content_sha256) = 32),
    state          TEXT NOT NULL
                   CHECK (state IN ('PENDING', 'APPROVED', 'DONE', 'FAILED', 'REJECTED', 'EXPIRED')),
    outcome        TEXT NOT NULL,
    created_ms     INTEGER NOT NULL,
    expires_ms     INTEGER NOT NULL,
    updated_ms     INTEGER NOT NULL,
    version        INTEGER NOT NULL DEFAULT 0,
    seal           BLOB CHECK (length(seal) = 32)
) STRICT;

-- The few that matter, among all that ever were.
CREATE INDEX approvals_open ON approvals (state, expires_ms) WHERE state IN ('PENDING', 'APPROVED');

-- What an approval is about never changes, and what has ended stays so.
CREATE TRIGGER approvals_keep_their_content
BEFORE UPDATE OF id, requester, credential, method, request, summary, salt, content_sha256, created_ms, expires_ms ON approvals
BEGIN
    SELECT RAISE(ABORT, 'the content of an approval never changes');
END;

CREATE TRIGGER approvals_end_once BEFORE UPDATE OF state ON approvals
WHEN old.state NOT IN ('PENDING', 'APPROVED')
BEGIN
    SELECT RAISE(ABORT, 'an approval ends once');
END;

-- A person has one vote, whatever the credential.
CREATE TABLE approval_votes (
    number         INTEGER PRIMARY KEY,
    approval       INTEGER NOT NULL REFERENCES approvals (number),
    client         INTEGER NOT NULL REFERENCES clients (number),
    credential     TEXT NOT NULL,
    approves       INTEGER NOT NULL CHECK (approves IN (0, 1)),
    content_sha256 BLOB NOT NULL CHECK (length(content_sha256) = 32),
    at_ms          INTEGER NOT NULL,
    version        INTEGER NOT NULL DEFAULT 0,
    seal           BLOB CHECK (length(seal) = 32),
    UNIQUE (approval, client)
) STRICT;

-- The last TID of a meter falls in one case: several persons decided it. The fall is written down here first, and no TID that a token
-- had may lie above it, so that none is given twice.
CREATE TABLE meter_falls (
    number     INTEGER PRIMARY KEY,
    pan        INTEGER NOT NULL,
    base_date  INTEGER NOT NULL,
    from_tid   INTEGER NOT NULL,
    to_tid     INTEGER NOT NULL,
    actor      BLOB CHECK (length(actor) = 16),
    at_ms      INTEGER NOT NULL,
    -- Whether the fall is happening now: one row, within its transaction.
    open       INTEGER NOT NULL CHECK (open IN (0, 1)),
    CHECK (to_tid < from_tid)
) STRICT;

CREATE UNIQUE INDEX meter_falls_open ON meter_falls (open) WHERE open = 1;

-- The highest TID of a row that was deleted from the ledger: no token shows any more that it was given.
ALTER TABLE meters ADD COLUMN deleted_tid INTEGER CHECK (deleted_tid BETWEEN 0 AND 16777215);

CREATE TRIGGER deleted_tokens_bind_their_meter BEFORE DELETE ON issued_tokens WHEN old.tid IS NOT NULL
BEGIN
    INSERT INTO meters (pan, base_date, last_tid, deleted_tid) VALUES (old.pan, old.base_date, old.tid, old.tid)
    ON CONFLICT DO UPDATE SET
        last_tid = max(last_tid, excluded.last_tid),
        deleted_tid = max(coalesce(deleted_tid, 0), excluded.deleted_tid);
END;

DROP TRIGGER meters_never_fall;

CREATE TRIGGER meters_never_fall BEFORE UPDATE OF last_tid ON meters
WHEN new.last_tid < old.last_tid AND NOT EXISTS (
    SELECT 1 FROM meter_falls
    WHERE open = 1 AND pan = old.pan AND base_date = old.base_date AND from_tid = old.last_tid AND to_tid = new.last_tid)
BEGIN
    SELECT RAISE(ABORT, 'the last TID of a meter never falls');
END;

CREATE TRIGGER meters_never_fall_below_their_tokens BEFORE UPDATE OF last_tid ON meters
WHEN new.last_tid < old.last_tid AND (new.last_tid < old.deleted_tid OR EXISTS (
    SELECT 1 FROM issued_tokens WHERE pan = old.pan AND base_date = old.base_date AND tid > new.last_tid))
BEGIN
    SELECT RAISE(ABORT, 'the last TID of a meter never falls below one that was given');
END;
