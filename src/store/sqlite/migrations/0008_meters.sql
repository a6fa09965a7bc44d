-- The rows of the ledger by meter, in runs: a run holds the rows up to a sequence that no run before it holds, in the order of meters,
-- and is written once. The newest rows are in no run yet (`newest.rs`). An index over all rows would be written in another place for
-- each token, which costs more the longer the ledger is.
-- base_date and tid are 0 for tokens without a TID.
CREATE TABLE tokens_by_meter (
    run       INTEGER NOT NULL,
    pan       INTEGER NOT NULL,
    base_date INTEGER NOT NULL,
    tid       INTEGER NOT NULL,
    sequence  INTEGER NOT NULL,
    PRIMARY KEY (run, pan, base_date, tid, sequence)
) STRICT, WITHOUT ROWID;

-- The runs that are whole. The minutes (since 1970) of their TIDs say in which to look for one; NULL where there are none.
CREATE TABLE token_runs (
    run          INTEGER PRIMARY KEY,
    up_to        INTEGER NOT NULL,
    first_minute INTEGER,
    last_minute  INTEGER
) STRICT;

INSERT INTO tokens_by_meter (run, pan, base_date, tid, sequence)
SELECT 1, pan, coalesce(base_date, 0), coalesce(tid, 0), sequence FROM issued_tokens
WHERE pan IS NOT NULL ORDER BY 2, 3, 4, 5;

INSERT INTO token_runs (run, up_to, first_minute, last_minute)
SELECT 1, max(sequence), min(minute), max(minute)
FROM (SELECT sequence, tid + CASE base_date WHEN 1993 THEN 12097440 WHEN 2014 THEN 23142240 ELSE 34187040 END AS minute
      FROM issued_tokens)
HAVING max(sequence) IS NOT NULL;

-- From now on this table alone tells the last TID of a meter, but for the rows that are in no run yet.
INSERT INTO meters (pan, base_date, last_tid)
SELECT pan, base_date, max(tid) FROM issued_tokens WHERE tid IS NOT NULL GROUP BY pan, base_date
ON CONFLICT DO UPDATE SET last_tid = excluded.last_tid WHERE excluded.last_tid > last_tid;

DROP TRIGGER meters_never_fall_below_their_tokens;

CREATE TRIGGER meters_never_fall_below_their_tokens BEFORE UPDATE OF last_tid ON meters
WHEN new.last_tid < old.last_tid AND (
    new.last_tid < old.deleted_tid
    OR EXISTS (
        SELECT 1 FROM token_runs r CROSS JOIN tokens_by_meter t ON t.run = r.run
        WHERE t.pan = old.pan AND t.base_date = old.base_date AND t.tid > new.last_tid)
    OR EXISTS (
        SELECT 1 FROM issued_tokens
        WHERE sequence > (SELECT coalesce(max(up_to), 0) FROM token_runs)
        AND pan = old.pan AND base_date = old.base_date AND tid > new.last_tid))
BEGIN
    SELECT RAISE(ABORT, 'the last TID of a meter never falls below one that was given');
END;

DROP INDEX issued_tokens_by_meter;

-- Key changes are rare.
CREATE INDEX key_changes_by_meter ON issued_tokens (pan) WHERE kind = 3;
