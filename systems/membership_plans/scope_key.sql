-- PostgreSQL, for a table that is too large to be written anew: the column that the generated one
-- would be, kept by a trigger. It takes a moment; rows that are there are filled by
-- `onerow apply` with `rules --trigger`.
BEGIN;
ALTER TABLE membership_plans ADD COLUMN scope_key text;
CREATE FUNCTION membership_plans_scope_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.scope_key := coalesce(NEW.branch_id, 'TENANT');
    RETURN NEW;
END $$;
CREATE TRIGGER membership_plans_scope_key BEFORE INSERT OR UPDATE ON membership_plans
    FOR EACH ROW EXECUTE FUNCTION membership_plans_scope_key();
COMMIT;
