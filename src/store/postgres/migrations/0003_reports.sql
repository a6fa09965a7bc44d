-- What was vended, by the hour (UTC, hours since 1970), configuration and kind of token, by each server: what reports are made of.
-- configuration is the number of its row, and 0 for tokens of class 1 that name none. least_units is a number in 10^-5 of the unit.
CREATE TABLE vended_hours (
    hour          bigint NOT NULL,
    configuration bigint NOT NULL,
    kind          text NOT NULL,
    chain         bigint NOT NULL,
    tokens        bigint NOT NULL CHECK (tokens >= 0),
    least_units   numeric(39, 0) NOT NULL,
    PRIMARY KEY (hour, configuration, kind, chain)
) WITH (fillfactor = 50);

-- Calls that were refused, by the hour in which they were put on record and by reason.
CREATE TABLE refused_hours (
    hour   bigint NOT NULL,
    reason text NOT NULL,
    chain  bigint NOT NULL,
    calls  bigint NOT NULL CHECK (calls >= 0),
    PRIMARY KEY (hour, reason, chain)
) WITH (fillfactor = 50);
