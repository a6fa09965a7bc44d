-- One row: the process that opened the database last. Each takes a random number at its start, and looks in each transaction
-- whether it is still here (claim.rs).
CREATE TABLE claim (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    run BLOB NOT NULL CHECK (length(run) = 16)
) STRICT;
