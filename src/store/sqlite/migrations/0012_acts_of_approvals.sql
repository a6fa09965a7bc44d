-- Which act was done with an approval: its record names the approval. Looked for before an approved act is done again.
ALTER TABLE acts ADD COLUMN approval TEXT
    GENERATED ALWAYS AS (CASE WHEN json_valid(details) THEN details ->> '$.approval' END) VIRTUAL;
CREATE INDEX acts_by_approval ON acts (approval) WHERE approval IS NOT NULL;
