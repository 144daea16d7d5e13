-- The columns of one view or virtual table.
SELECT :name AS table_name, x.cid AS position, x.name, x.type, x."notnull" AS not_null,
       x.dflt_value AS default_value, x.pk AS key_position, x.hidden
FROM pragma_table_xinfo(:name, 'main') x
WHERE x.hidden <> 1
ORDER BY x.cid
