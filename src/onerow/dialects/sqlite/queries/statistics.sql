-- What ANALYZE noted; the first number is the count of rows in the index, or in the table.
SELECT tbl AS table_name, idx AS index_name, stat FROM main.sqlite_stat1
