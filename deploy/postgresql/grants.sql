-- The least rights of a server, in the database of the ledger: run as the owner of the tables, after `vendkey setup`
-- as that owner, and again after each new version whose `vendkey setup` has brought the schema up.
--
-- The server reads and writes rows, but cannot change what is on record: it may neither change nor delete rows of
-- the ledger and acts, nor delete what is known of meters, and it owns no table.

GRANT USAGE ON SCHEMA vendkey TO vendkey_server;

GRANT SELECT ON ALL TABLES IN SCHEMA vendkey TO vendkey_server;

GRANT INSERT ON vendkey.issued_tokens, vendkey.acts, vendkey.meter_falls TO vendkey_server;

GRANT INSERT, UPDATE ON
    vendkey.clients, vendkey.credentials, vendkey.public_keys, vendkey.configurations, vendkey.key_change_pairs,
    vendkey.approvals, vendkey.approval_votes, vendkey.roll, vendkey.tid_floors, vendkey.servers, vendkey.chains,
    vendkey.leases, vendkey.meters, vendkey.usage, vendkey.vended_hours, vendkey.refused_hours,
    vendkey.verification_failures, vendkey.checkpoints, vendkey.ledger_walk
TO vendkey_server;

GRANT UPDATE ON vendkey.authority TO vendkey_server;

-- An upload that did not end, a key change that is forbidden again, and what is forgotten after its time.
GRANT DELETE ON
    vendkey.configurations, vendkey.key_change_pairs, vendkey.verification_failures, vendkey.checkpoints
TO vendkey_server;
