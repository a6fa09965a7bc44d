-- What each client was given each day (UTC, days since 1970) of each kind of token: what limits are counted against, and the usual
-- pace is known from. least_units is a decimal number, 10^-5 of the unit, and may have 39 digits.
CREATE TABLE usage (
    client      INTEGER NOT NULL REFERENCES clients (number),
    day         INTEGER NOT NULL,
    kind        TEXT NOT NULL,
    tokens      INTEGER NOT NULL CHECK (tokens >= 0),
    least_units TEXT NOT NULL,
    PRIMARY KEY (client, day, kind)
) STRICT, WITHOUT ROWID;
