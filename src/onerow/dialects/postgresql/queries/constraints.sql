-- The constraints of the tables, foreign keys apart.
SELECT k.conrelid::bigint AS relation,
       k.oid::bigint AS oid,
       k.conname AS name,
       k.contype::text AS kind,
       (SELECT json_agg(a.attname ORDER BY q.place)::text
        FROM unnest(k.conkey) WITH ORDINALITY q(number, place)
        JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = q.number) AS columns,
       pg_get_expr(k.conbin, k.conrelid, true) AS expression,
       k.convalidated AS validated,
       -- From 18.
       coalesce((to_jsonb(k) ->> 'conenforced')::boolean, true) AS enforced,
       k.condeferrable AS deferrable,
       k.condeferred AS deferred,
       k.connoinherit AS no_inherit,
       k.coninhcount > 0 AS inherited,
       k.contype = 'x' AND NOT EXISTS (
           SELECT FROM unnest(k.conexclop) used(operator)
           WHERE NOT EXISTS (
               SELECT FROM pg_amop s
               JOIN pg_am m ON m.oid = s.amopmethod
               WHERE s.amopopr = used.operator
                 AND (m.amname, s.amopstrategy) IN (('btree', 3), ('hash', 1)))) AS all_equality,
       x.relname AS index_name,
       c.description AS comment
FROM pg_constraint k
LEFT JOIN pg_class x ON x.oid = k.conindid
LEFT JOIN pg_description c
       ON c.classoid = 'pg_constraint'::regclass AND c.objoid = k.oid AND c.objsubid = 0
WHERE k.conrelid = ANY (cast(cast(:relations AS text) AS oid[])) AND k.contype IN ('c', 'n', 'u', 'p', 'x')
ORDER BY k.conrelid, k.conname
