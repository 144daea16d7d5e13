-- The types of the columns, what they are made of, and which of them a B-tree can order.
WITH RECURSIVE used(oid) AS (
    SELECT DISTINCT a.atttypid
    FROM pg_attribute a
    WHERE a.attrelid = ANY (cast(cast(:relations AS text) AS oid[])) AND a.attnum > 0 AND NOT a.attisdropped
    UNION
    SELECT p.oid
    FROM used u
    JOIN pg_type t ON t.oid = u.oid
    CROSS JOIN LATERAL (
        SELECT t.typbasetype WHERE t.typtype = 'd'
        UNION ALL
        SELECT t.typelem WHERE t.typsubscript = 'array_subscript_handler'::regproc
        UNION ALL
        SELECT a.atttypid
        FROM pg_attribute a
        WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
    ) p(oid)
)
SELECT t.oid::bigint AS oid,
       t.typname AS bare_name,
       format_type(t.oid, NULL) AS name,
       t.typtype::text AS kind,
       t.typcategory::text AS category,
       CASE WHEN t.typtype = 'd' THEN t.typbasetype::bigint END AS base,
       CASE WHEN t.typsubscript = 'array_subscript_handler'::regproc
            THEN t.typelem::bigint END AS element,
       CASE WHEN t.typtype = 'c' THEN
           (SELECT coalesce(json_agg(a.atttypid::bigint), '[]')::text
            FROM pg_attribute a
            WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) END AS members,
       -- varchar has none of its own and borrows that of text, to which it is binary coercible.
       EXISTS (SELECT FROM pg_opclass o
               WHERE o.opcdefault
                 AND o.opcmethod = (SELECT oid FROM pg_am WHERE amname = 'btree')
                 AND (o.opcintype = t.oid OR o.opcintype IN (
                     SELECT k.casttarget FROM pg_cast k
                     WHERE k.castsource = t.oid AND k.castmethod = 'b' AND k.castcontext = 'i'
                 ))) AS ordered
FROM used u
JOIN pg_type t ON t.oid = u.oid
