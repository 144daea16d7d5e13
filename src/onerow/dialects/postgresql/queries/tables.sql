-- The tables asked for, with those that hang on them by foreign keys, partitions or inheritance.
WITH RECURSIVE relation AS (
    SELECT c.*, n.nspname
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
      AND c.relpersistence <> 't'
      AND n.nspname !~ '^pg_'
      AND n.nspname NOT IN ('information_schema', 'onerow')
), asked AS (
    SELECT r.oid
    FROM relation r
    WHERE CASE WHEN cast(cast(:whole AS text) AS boolean)
          THEN r.nspname IN (
              SELECT jsonb_array_elements_text(cast(cast(:schemas AS text) AS jsonb)))
          ELSE (r.nspname, r.relname) IN (
              SELECT x.name ->> 0, x.name ->> 1
              FROM jsonb_array_elements(cast(cast(:names AS text) AS jsonb)) x(name)
          ) END
), tie(one, other) AS (
    SELECT confrelid, conrelid FROM pg_constraint WHERE contype = 'f'
    UNION SELECT inhparent, inhrelid FROM pg_inherits
    UNION SELECT inhrelid, inhparent FROM pg_inherits
), family(oid) AS (
    SELECT oid FROM asked
    UNION
    SELECT t.other FROM family f JOIN tie t ON t.one = f.oid
), wanted(oid) AS (
    SELECT oid FROM family
    UNION
    SELECT k.confrelid FROM pg_constraint k JOIN family f ON f.oid = k.conrelid WHERE k.contype = 'f'
)
SELECT c.oid::bigint AS oid,
       c.nspname AS schema,
       c.relname AS name,
       c.relkind::text AS kind,
       c.oid IN (SELECT oid FROM asked) AS asked,
       c.reltuples AS tuples,
       c.relpages AS pages,
       CASE WHEN c.relkind IN ('r', 'm') THEN pg_relation_size(c.oid) END AS size,
       c.relrowsecurity AS row_security,
       c.relforcerowsecurity AS row_security_forced,
       row_security_active(c.oid) AS row_security_applies,
       c.relreplident::text AS replica_identity,
       pg_get_userbyid(c.relowner) AS owner,
       pg_has_role(c.relowner, 'USAGE') AS we_own,
       has_schema_privilege(c.relnamespace, 'CREATE') AS may_create,
       -- A right on a table is worth nothing without USAGE on its schema (manual §5.8).
       (SELECT coalesce(json_agg(p.name), '[]')::text
        FROM unnest(ARRAY['select', 'insert', 'update', 'delete', 'truncate',
                          'references', 'trigger']) p(name)
        WHERE has_schema_privilege(c.relnamespace, 'USAGE')
          AND has_table_privilege(c.oid, p.name)) AS privileges,
       c.relispartition AS is_partition,
       (SELECT json_agg(json_build_array(pn.nspname, p.relname) ORDER BY h.inhseqno)::text
        FROM pg_inherits h
        JOIN pg_class p ON p.oid = h.inhparent
        JOIN pg_namespace pn ON pn.oid = p.relnamespace
        WHERE h.inhrelid = c.oid) AS parents,
       (SELECT json_agg(coalesce(a.attname, '') ORDER BY k.place)::text
        FROM pg_partitioned_table t
        CROSS JOIN LATERAL unnest(t.partattrs::int2[]) WITH ORDINALITY k(number, place)
        LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number
        WHERE t.partrelid = c.oid) AS partition_columns,
       (SELECT e.extname
        FROM pg_depend d
        JOIN pg_extension e ON e.oid = d.refobjid
        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
          AND d.refclassid = 'pg_extension'::regclass LIMIT 1) AS extension,
       to_json(c.reloptions)::text AS options,
       obj_description(c.oid, 'pg_class') AS comment
FROM relation c
WHERE c.oid IN (SELECT oid FROM wanted)
ORDER BY c.nspname, c.relname
