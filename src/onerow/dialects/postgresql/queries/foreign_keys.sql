-- The foreign keys of the tables, and the index that each one leans on.
SELECT k.conrelid::bigint AS relation,
       k.oid::bigint AS oid,
       k.conname AS name,
       (SELECT json_agg(a.attname ORDER BY q.place)::text
        FROM unnest(k.conkey) WITH ORDINALITY q(number, place)
        JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = q.number) AS columns,
       tn.nspname AS target_schema,
       t.relname AS target_name,
       (SELECT json_agg(a.attname ORDER BY q.place)::text
        FROM unnest(k.confkey) WITH ORDINALITY q(number, place)
        JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = q.number) AS target_columns,
       k.confdeltype::text AS on_delete,
       -- SET NULL (some columns), from 15.
       (SELECT json_agg(a.attname ORDER BY q.place)::text
        FROM jsonb_array_elements_text(
                 coalesce(nullif(to_jsonb(k) -> 'confdelsetcols', 'null'), '[]')
             ) WITH ORDINALITY q(number, place)
        JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = q.number::int
       ) AS on_delete_columns,
       k.confupdtype::text AS on_update,
       k.confmatchtype::text AS match,
       k.convalidated AS validated,
       coalesce((to_jsonb(k) ->> 'conenforced')::boolean, true) AS enforced,
       coalesce((to_jsonb(k) ->> 'conperiod')::boolean, false) AS period,
       k.condeferrable AS deferrable,
       k.condeferred AS deferred,
       k.conparentid <> 0 AS inherited,
       xn.nspname AS index_schema,
       x.relname AS index_name,
       c.description AS comment
FROM pg_constraint k
JOIN pg_class t ON t.oid = k.confrelid
JOIN pg_namespace tn ON tn.oid = t.relnamespace
LEFT JOIN pg_class x ON x.oid = k.conindid
LEFT JOIN pg_namespace xn ON xn.oid = x.relnamespace
LEFT JOIN pg_description c
       ON c.classoid = 'pg_constraint'::regclass AND c.objoid = k.oid AND c.objsubid = 0
WHERE k.conrelid = ANY (cast(cast(:relations AS text) AS oid[])) AND k.contype = 'f'
  -- To a partitioned table there is one more for each of its partitions: a row refers to one of them.
  AND NOT EXISTS (
      SELECT FROM pg_constraint whole
      WHERE whole.oid = k.conparentid AND whole.conrelid = k.conrelid)
ORDER BY k.conrelid, k.conname, k.oid
