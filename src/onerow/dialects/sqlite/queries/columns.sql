-- The columns of the tables; hidden is 2 for a virtual and 3 for a stored generated column.
SELECT m.name AS table_name, x.cid AS position, x.name, x.type, x."notnull" AS not_null,
       x.dflt_value AS default_value, x.pk AS key_position, x.hidden
FROM main.sqlite_master m
CROSS JOIN pragma_table_xinfo(m.name, 'main') x
WHERE m.type = 'table' AND m.rootpage > 0
  AND lower(substr(m.name, 1, 7)) NOT IN ('sqlite_', 'onerow_')
ORDER BY m.name, x.cid
