-- At most one row: that the database is not to be served, because it is being filled from another one (FILLING; chain is the
-- first chain of that one) or was migrated to another one (MOVED).
CREATE TABLE migration (
    one   bigint PRIMARY KEY DEFAULT 1 CHECK (one = 1),
    state text NOT NULL CHECK (state IN ('FILLING', 'MOVED')),
    chain bytea CHECK (octet_length(chain) = 16),
    other text NOT NULL
);
