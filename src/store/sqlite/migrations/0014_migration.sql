-- At most one row: that the database is not to be served, because it is being filled from another one (FILLING; chain is the
-- first chain of that one) or was migrated to another one (MOVED).
CREATE TABLE migration (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    state TEXT NOT NULL CHECK (state IN ('FILLING', 'MOVED')),
    chain BLOB CHECK (length(chain) = 16),
    other TEXT NOT NULL
) STRICT;
