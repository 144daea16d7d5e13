-- Which tables are the hidden storage of a virtual table, by the names that modules give.
SELECT m.name
FROM main.sqlite_master m
JOIN main.sqlite_master v ON v.type = 'table' AND v.rootpage = 0
    AND lower(substr(m.name, 1, length(v.name) + 1)) = lower(v.name) || '_'
WHERE m.type = 'table' AND m.rootpage > 0
  AND lower(substr(m.name, length(v.name) + 2)) IN (
      'data', 'idx', 'content', 'docsize', 'config', 'segments', 'segdir', 'stat',
      'node', 'parent', 'rowid')
