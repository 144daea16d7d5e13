-- Every object as stored; rootpage 0 is a view, a trigger or a virtual table.
SELECT type, name, tbl_name AS table_name, rootpage, sql
FROM main.sqlite_master
WHERE lower(substr(tbl_name, 1, 7)) NOT IN ('sqlite_', 'onerow_')
ORDER BY tbl_name, name
