-- The key of a configuration on further tokens of the HSM, JSON; NULL where one token alone holds it.
ALTER TABLE configurations ADD COLUMN other_keys TEXT;
