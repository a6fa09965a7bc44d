-- at_ms is the last moment at which the server believed its clock. boot_id and uptime_ms say when that was by the machine's own
-- clock, which nobody sets: since which start of which machine. in_doubt: the clock was in doubt since, and nobody accepted it.
ALTER TABLE heartbeat ADD COLUMN boot_id BLOB CHECK (length(boot_id) = 16);
ALTER TABLE heartbeat ADD COLUMN uptime_ms INTEGER CHECK (uptime_ms >= 0);
ALTER TABLE heartbeat ADD COLUMN in_doubt INTEGER NOT NULL DEFAULT 0 CHECK (in_doubt IN (0, 1));
