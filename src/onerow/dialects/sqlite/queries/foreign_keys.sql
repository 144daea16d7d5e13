-- The foreign keys of the tables, a row a column; without target column they mean the primary key.
SELECT m.name AS table_name, f.id, f.seq AS place, f."table" AS target_name,
       f."from" AS column_name, f."to" AS target_column,
       lower(f.on_delete) AS on_delete, lower(f.on_update) AS on_update
FROM main.sqlite_master m
CROSS JOIN pragma_foreign_key_list(m.name, 'main') f
WHERE m.type = 'table' AND m.rootpage > 0
  AND lower(substr(m.name, 1, 7)) NOT IN ('sqlite_', 'onerow_')
ORDER BY m.name, f.id DESC, f.seq
