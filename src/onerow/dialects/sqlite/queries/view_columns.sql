-- The columns of the views and virtual tables; an error if one of them is broken.
SELECT m.name AS table_name, x.cid AS position, x.name, x.type, x."notnull" AS not_null,
       x.dflt_value AS default_value, x.pk AS key_position, x.hidden
FROM main.sqlite_master m
CROSS JOIN pragma_table_xinfo(m.name, 'main') x
WHERE m.type IN ('table', 'view') AND m.rootpage = 0 AND x.hidden <> 1
  AND lower(substr(m.name, 1, 7)) NOT IN ('sqlite_', 'onerow_')
ORDER BY m.name, x.cid
