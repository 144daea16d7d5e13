-- The indexes of the tables, with every element, and the constraint that each one backs.
SELECT i.indrelid::bigint AS relation,
       i.indexrelid::bigint AS oid,
       x.relname AS name,
       n.nspname AS schema,
       m.amname AS method,
       i.indisunique AS is_unique,
       i.indisprimary AS is_primary,
       i.indisvalid AS valid,
       i.indisready AS ready,
       i.indislive AS live,
       i.indimmediate AS immediate,
       i.indisreplident AS replica_identity,
       i.indisclustered AS clustered,
       -- The column is there from 15; a name that is not there would be an error before.
       coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false) AS nulls_not_distinct,
       i.indpred IS NOT NULL AS partial,
       pg_get_expr(i.indpred, i.indrelid, true) AS predicate,
       k.conname AS constraint_name,
       k.contype::text AS constraint_kind,
       coalesce((to_jsonb(k) ->> 'conperiod')::boolean, false) AS without_overlaps,
       pn.nspname AS parent_schema,
       p.relname AS parent_name,
       to_json(x.reloptions)::text AS options,
       s.spcname AS tablespace,
       obj_description(i.indexrelid, 'pg_class') AS comment,
       pg_relation_size(i.indexrelid) AS size,
       -- What a DROP would stop at, but for foreign keys: views that group by a primary key, rules and
       -- functions (BEGIN ATOMIC) with ON CONFLICT ON CONSTRAINT.
       (SELECT json_agg(DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid))::text
        FROM pg_depend d
        WHERE d.deptype = 'n' AND d.classid IN ('pg_rewrite'::regclass, 'pg_proc'::regclass)
          AND ((d.refclassid = 'pg_constraint'::regclass AND d.refobjid = k.oid)
               OR (d.refclassid = 'pg_class'::regclass AND d.refobjid = i.indexrelid))
       ) AS dependents,
       e.elements
FROM pg_index i
JOIN pg_class x ON x.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = x.relnamespace
JOIN pg_am m ON m.oid = x.relam
LEFT JOIN pg_constraint k
       ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u', 'x')
LEFT JOIN pg_inherits h ON h.inhrelid = i.indexrelid
LEFT JOIN pg_class p ON p.oid = h.inhparent
LEFT JOIN pg_namespace pn ON pn.oid = p.relnamespace
LEFT JOIN pg_tablespace s ON s.oid = x.reltablespace
CROSS JOIN LATERAL (
    SELECT json_agg(json_build_object(
               'key', q.place <= i.indnkeyatts,
               'column', a.attname,
               'expression', CASE WHEN q.number = 0
                                  THEN pg_get_indexdef(i.indexrelid, q.place::int, true) END,
               'opclass', o.opcname,
               -- text_ops is a default, of text: on a citext column it is not the default.
               'opclass_default', o.opcdefault AND NOT EXISTS (
                   SELECT FROM pg_opclass d
                   WHERE d.opcdefault AND d.opcmethod = o.opcmethod AND d.oid <> o.oid
                     AND d.opcintype = coalesce(nullif(t.typbasetype, 0), t.oid)),
               'collation', l.collname,
               -- An expression takes its collation from the columns in it, where it takes any.
               'collation_default', l.oid IS NULL OR CASE WHEN q.number > 0
                   THEN l.oid = a.attcollation
                   ELSE l.collname = 'default' OR EXISTS (
                       SELECT FROM pg_attribute c
                       WHERE c.attrelid = i.indrelid AND c.attcollation = l.oid) END,
               'option', i.indoption[q.place::int - 1],
               -- The default is -1, and NULL from 17 on.
               'statistics', nullif(xa.attstattarget, -1)
           ) ORDER BY q.place)::text AS elements
    FROM unnest(i.indkey::int2[]) WITH ORDINALITY q(number, place)
    JOIN pg_attribute xa ON xa.attrelid = i.indexrelid AND xa.attnum = q.place
    JOIN pg_type t ON t.oid = xa.atttypid
    LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = q.number AND q.number <> 0
    LEFT JOIN pg_opclass o ON o.oid = i.indclass[q.place::int - 1] AND q.place <= i.indnkeyatts
    LEFT JOIN pg_collation l
           ON l.oid = i.indcollation[q.place::int - 1] AND q.place <= i.indnkeyatts
) e
WHERE i.indrelid = ANY (cast(cast(:relations AS text) AS oid[]))
ORDER BY i.indrelid, x.relname
