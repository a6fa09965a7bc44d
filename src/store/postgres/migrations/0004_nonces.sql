-- What makes a sealed upload one: the same nonce is not taken in twice. A legacy upload has none.
ALTER TABLE configurations ADD COLUMN nonce bytea CHECK (octet_length(nonce) = 16);
CREATE UNIQUE INDEX configurations_by_nonce ON configurations (nonce) WHERE nonce IS NOT NULL;
