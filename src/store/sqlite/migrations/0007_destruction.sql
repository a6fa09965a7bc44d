-- destroy_ms: from when on a scheduled configuration's keys are destroyed; of a destroyed one, when they were seen to be gone.
-- destroy_begun: keys may be gone already, so there is no way back.
ALTER TABLE configurations ADD COLUMN destroy_ms INTEGER;
ALTER TABLE configurations ADD COLUMN destroy_begun INTEGER NOT NULL DEFAULT 0 CHECK (destroy_begun IN (0, 1));
