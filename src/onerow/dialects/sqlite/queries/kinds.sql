-- Which tables are the hidden storage of a virtual table.
SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'shadow'
