-- What would make each index, constraint and trigger again; run with an empty search path.
SELECT 'index' AS what, i.indexrelid::bigint AS oid, pg_get_indexdef(i.indexrelid) AS definition
FROM pg_index i
WHERE i.indrelid = ANY (cast(:relations AS oid[]))
UNION ALL
SELECT 'constraint', k.oid::bigint, pg_get_constraintdef(k.oid)
FROM pg_constraint k
WHERE k.conrelid = ANY (cast(:relations AS oid[])) AND k.contype IN ('c', 'n', 'u', 'p', 'x', 'f')
UNION ALL
SELECT 'trigger', g.oid::bigint, pg_get_triggerdef(g.oid)
FROM pg_trigger g
WHERE g.tgrelid = ANY (cast(:relations AS oid[])) AND NOT g.tgisinternal
