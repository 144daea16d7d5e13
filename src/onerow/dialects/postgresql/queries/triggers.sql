-- The triggers that people made, without those that the server makes for foreign keys.
SELECT g.tgrelid::bigint AS relation,
       g.oid::bigint AS oid,
       g.tgname AS name,
       g.tgtype::int AS type_bits,
       g.tgenabled::text AS enabled,
       format('%s.%s', n.nspname, p.proname) AS function
FROM pg_trigger g
JOIN pg_proc p ON p.oid = g.tgfoid
JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE g.tgrelid = ANY (cast(cast(:relations AS text) AS oid[])) AND NOT g.tgisinternal
ORDER BY g.tgrelid, g.tgname
