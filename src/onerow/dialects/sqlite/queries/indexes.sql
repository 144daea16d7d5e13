-- The indexes of the tables with their elements; position is -1 for the rowid, -2 an expression.
SELECT m.name AS table_name, l.name, l."unique" AS is_unique, l.origin, l.partial,
       x.seqno AS place, x.cid AS position, x.name AS column_name, x."desc" AS descending,
       x.coll AS collation
FROM main.sqlite_master m
CROSS JOIN pragma_index_list(m.name, 'main') l
CROSS JOIN pragma_index_xinfo(l.name, 'main') x
WHERE m.type = 'table' AND m.rootpage > 0 AND x.key = 1
  AND lower(substr(m.name, 1, 7)) NOT IN ('sqlite_', 'onerow_')
ORDER BY m.name, l.name, x.seqno
