-- Which publications send a table's changes; before 15 there are none of whole schemas.
WITH RECURSIVE listed(publication, relation) AS (
    SELECT prpubid, prrelid FROM pg_publication_rel
    UNION
    SELECT p.oid, c.oid FROM pg_publication p CROSS JOIN pg_class c WHERE p.puballtables
), sent(publication, relation) AS (
    SELECT publication, relation FROM listed
    UNION
    SELECT s.publication, h.inhrelid
    FROM sent s
    JOIN pg_inherits h ON h.inhparent = s.relation
    JOIN pg_class c ON c.oid = h.inhrelid AND c.relispartition
)
SELECT c.oid::bigint AS relation, p.pubname AS name, p.pubupdate AS updates, p.pubdelete AS deletes
FROM sent s
JOIN pg_publication p ON p.oid = s.publication
JOIN pg_class c ON c.oid = s.relation
WHERE c.oid = ANY (cast(cast(:relations AS text) AS oid[])) AND c.relkind IN ('r', 'p') AND c.relpersistence = 'p'
ORDER BY c.oid, p.pubname
