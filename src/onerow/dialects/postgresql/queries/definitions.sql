-- What would make each index, constraint and trigger again; run with an empty search path.
SELECT d.what, d.oid, d.definition, current_setting('search_path') = '' AS qualified
FROM (
    SELECT 'index', i.indexrelid::bigint, pg_get_indexdef(i.indexrelid)
    FROM pg_index i
    WHERE i.indrelid = ANY (cast(cast(:relations AS text) AS oid[]))
    UNION ALL
    SELECT 'constraint', k.oid::bigint, pg_get_constraintdef(k.oid)
    FROM pg_constraint k
    WHERE k.conrelid = ANY (cast(cast(:relations AS text) AS oid[]))
      AND k.contype IN ('c', 'n', 'u', 'p', 'x', 'f')
    UNION ALL
    SELECT 'trigger', g.oid::bigint, pg_get_triggerdef(g.oid)
    FROM pg_trigger g
    WHERE g.tgrelid = ANY (cast(cast(:relations AS text) AS oid[])) AND NOT g.tgisinternal
) d(what, oid, definition)
