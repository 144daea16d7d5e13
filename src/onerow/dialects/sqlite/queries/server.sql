-- The library, the file, and the settings of the connection.
SELECT sqlite_version() AS version,
       (SELECT file FROM pragma_database_list WHERE name = 'main') AS file,
       (SELECT query_only FROM pragma_query_only) AS query_only,
       (SELECT foreign_keys FROM pragma_foreign_keys) AS foreign_keys,
       (SELECT journal_mode FROM pragma_journal_mode) AS journal_mode,
       (SELECT encoding FROM pragma_encoding) AS encoding,
       (SELECT recursive_triggers FROM pragma_recursive_triggers) AS recursive_triggers,
       (SELECT timeout FROM pragma_busy_timeout) AS busy_timeout,
       (SELECT count(*) FROM main.sqlite_master
        WHERE type = 'table' AND name = 'sqlite_stat1') AS analysed
