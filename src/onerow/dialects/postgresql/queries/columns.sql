-- The columns of the tables, with defaults, identities, generation and collations.
SELECT a.attrelid::bigint AS relation,
       a.attnum AS position,
       a.attname AS name,
       format_type(a.atttypid, a.atttypmod) AS type,
       a.atttypid::bigint AS type_oid,
       a.attnotnull AS not_null,
       a.attidentity::text AS identity,
       a.attgenerated::text AS generated,
       d.oid IS NOT NULL AS has_expression,
       pg_get_expr(d.adbin, d.adrelid, true) AS expression,
       l.collname AS collation,
       ln.nspname AS collation_schema,
       a.attcollation IN (0, t.typcollation) AS collation_own,
       pg_collation_is_visible(l.oid) AS collation_visible,
       coalesce(l.collisdeterministic, true) AS collation_deterministic,
       c.description AS comment
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN pg_collation l ON l.oid = a.attcollation
LEFT JOIN pg_namespace ln ON ln.oid = l.collnamespace
LEFT JOIN pg_description c
       ON c.classoid = 'pg_class'::regclass AND c.objoid = a.attrelid AND c.objsubid = a.attnum
WHERE a.attrelid = ANY (cast(cast(:relations AS text) AS oid[])) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
