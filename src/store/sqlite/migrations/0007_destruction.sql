-- destroy_ms: from when on a scheduled configuration's keys are destroyed; of a destroyed one, when they were seen to be gone.
-- destroy_begun_ms: when destruction began; keys may be gone since, so there is no way back.
ALTER TABLE configurations ADD COLUMN destroy_ms INTEGER;
ALTER TABLE configurations ADD COLUMN destroy_begun_ms INTEGER;
