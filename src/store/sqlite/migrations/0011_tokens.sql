-- What is bound to one HSM token says to which: the first 8 bytes of an HMAC by the token's fingerprint key. NULL in rows from
-- before tokens were told apart; they belong to the one token of the server.
ALTER TABLE configurations ADD COLUMN token BLOB CHECK (length(token) = 8);

-- By which row-seal key a row is sealed. NULL in rows from before; the seal itself tells.
ALTER TABLE clients ADD COLUMN seal_key BLOB CHECK (length(seal_key) = 8);
ALTER TABLE credentials ADD COLUMN seal_key BLOB CHECK (length(seal_key) = 8);
ALTER TABLE public_keys ADD COLUMN seal_key BLOB CHECK (length(seal_key) = 8);
ALTER TABLE configurations ADD COLUMN seal_key BLOB CHECK (length(seal_key) = 8);
ALTER TABLE key_change_pairs ADD COLUMN seal_key BLOB CHECK (length(seal_key) = 8);
ALTER TABLE approvals ADD COLUMN seal_key BLOB CHECK (length(seal_key) = 8);
ALTER TABLE approval_votes ADD COLUMN seal_key BLOB CHECK (length(seal_key) = 8);
ALTER TABLE roll ADD COLUMN seal_key BLOB CHECK (length(seal_key) = 8);
