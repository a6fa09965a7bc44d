-- What a client may do and how much (store/rights.rs, store/limits.rs), as JSON, in place of the two roles.
ALTER TABLE clients ADD COLUMN rights TEXT NOT NULL DEFAULT '';
ALTER TABLE clients ADD COLUMN limits TEXT NOT NULL DEFAULT
    '{"amounts":{},"tokens_per_day":null,"requests_per_second":null,"uploads_per_minute":null,"alarm_share":null}';
UPDATE clients SET rights = CASE role
    WHEN 'administrator' THEN
        '{"may_do":["verify","read_ledger","configurations","public_keys","clients","ledger","audit"],"may_grant":["vend","manage","change_keys","verify","verify_foreign","read_ledger","configurations","public_keys","clients","ledger","audit"],"configurations":"all","token_kinds":"all"}'
    ELSE
        '{"may_do":["vend","manage","change_keys","verify"],"may_grant":[],"configurations":"all","token_kinds":"all"}'
    END;
ALTER TABLE clients DROP COLUMN role;

-- A certificate proves itself in the handshake: its key_id says which one counts, and its secret_sha256 is 32 zeros, which
-- nothing is compared with.
ALTER TABLE credentials ADD COLUMN kind TEXT NOT NULL DEFAULT 'secret' CHECK (kind IN ('secret', 'certificate'));
