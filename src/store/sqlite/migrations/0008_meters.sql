-- The rows of the ledger by meter, in runs: a run holds the rows up to a sequence that no run before it holds, in the order of meters,
-- and is written once, in parts. The newest rows are in no run yet (`newest.rs`). An index over all rows would be written in another
-- place for each token, which costs more the longer the ledger is.
-- rows: 22 bytes for each, big endian: pan (8), base date (2), TID (4), sequence (8); base date and TID are 0 where there is no TID.
-- last_pan, last_sequence: the highest in the part.
CREATE TABLE token_run_parts (
    run           INTEGER NOT NULL,
    last_pan      INTEGER NOT NULL,
    last_sequence INTEGER NOT NULL,
    rows          BLOB NOT NULL,
    PRIMARY KEY (run, last_pan, last_sequence)
) STRICT, WITHOUT ROWID;

-- The runs that are whole. The minutes (since 1970) of their TIDs say in which to look for one; NULL where there are none.
CREATE TABLE token_runs (
    run          INTEGER PRIMARY KEY,
    up_to        INTEGER NOT NULL,
    first_minute INTEGER,
    last_minute  INTEGER
) STRICT;

INSERT INTO token_run_parts (run, last_pan, last_sequence, rows)
SELECT 1, max(pan), max(sequence),
       unhex(group_concat(printf('%016x%04x%08x%016x', pan, year, tid, sequence), '' ORDER BY place))
FROM (SELECT pan, year, tid, sequence, row_number() OVER (ORDER BY pan, year, tid, sequence) - 1 AS place
      FROM (SELECT pan, coalesce(base_date, 0) AS year, coalesce(tid, 0) AS tid, sequence
            FROM issued_tokens WHERE pan IS NOT NULL))
GROUP BY place / 40;

INSERT INTO token_runs (run, up_to, first_minute, last_minute)
SELECT 1, max(sequence), min(minute), max(minute)
FROM (SELECT sequence, tid + CASE base_date WHEN 1993 THEN 12097440 WHEN 2014 THEN 23142240 ELSE 34187040 END AS minute
      FROM issued_tokens)
HAVING max(sequence) IS NOT NULL;

-- The highest TID that a token had, of the rows that are in a run or were deleted; last_tid is above it where one was seeded.
ALTER TABLE meters RENAME COLUMN deleted_tid TO given_tid;

DROP TRIGGER meters_never_fall;
DROP TRIGGER meters_never_fall_below_their_tokens;

INSERT INTO meters (pan, base_date, last_tid, given_tid)
SELECT pan, base_date, max(tid), max(tid) FROM issued_tokens WHERE tid IS NOT NULL GROUP BY pan, base_date
ON CONFLICT DO UPDATE SET
    last_tid = max(last_tid, excluded.last_tid),
    given_tid = max(coalesce(given_tid, 0), excluded.given_tid);

CREATE TRIGGER meters_never_fall BEFORE UPDATE OF last_tid ON meters WHEN new.last_tid < old.last_tid
BEGIN
    SELECT RAISE(ABORT, 'the last TID of a meter never falls') WHERE NOT EXISTS (
        SELECT 1 FROM meter_falls
        WHERE open = 1 AND pan = old.pan AND base_date = old.base_date AND from_tid = old.last_tid AND to_tid = new.last_tid);
    SELECT RAISE(ABORT, 'the last TID of a meter never falls below one that was given') WHERE new.last_tid < old.given_tid OR EXISTS (
        SELECT 1 FROM issued_tokens
        WHERE sequence > (SELECT coalesce(max(up_to), 0) FROM token_runs)
        AND pan = old.pan AND base_date = old.base_date AND tid > new.last_tid);
END;

DROP INDEX issued_tokens_by_meter;

-- Key changes are rare.
CREATE INDEX key_changes_by_meter ON issued_tokens (pan) WHERE kind = 3;
