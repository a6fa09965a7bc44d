-- What was vended, by the hour (UTC, hours since 1970), configuration and kind of token: what reports are made of.
-- configuration is the number of its row, and 0 for tokens of class 1 that name none. least_units is a decimal number, 10^-5 of the unit.
CREATE TABLE vended_hours (
    hour          INTEGER NOT NULL,
    configuration INTEGER NOT NULL,
    kind          TEXT NOT NULL,
    tokens        INTEGER NOT NULL CHECK (tokens >= 0),
    least_units   TEXT NOT NULL,
    PRIMARY KEY (hour, configuration, kind)
) STRICT, WITHOUT ROWID;

-- Calls that were refused, by the hour in which they were put on record and by reason.
CREATE TABLE refused_hours (
    hour   INTEGER NOT NULL,
    reason TEXT NOT NULL,
    calls  INTEGER NOT NULL CHECK (calls >= 0),
    PRIMARY KEY (hour, reason)
) STRICT, WITHOUT ROWID;
