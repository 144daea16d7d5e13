-- The server, the role that we are there, and which schemas there are.
SELECT current_setting('server_version_num')::int AS version_number,
       current_setting('server_version') AS version_text,
       current_database() AS database,
       current_user AS role,
       r.rolsuper AS superuser,
       r.rolsuper OR r.rolbypassrls AS bypasses_row_security,
       -- A session may lift its own default; on a standby it cannot.
       pg_is_in_recovery() AS in_recovery,
       current_setting('default_transaction_read_only') = 'on' AS read_only,
       has_database_privilege(current_database(), 'CREATE')
           OR coalesce(has_schema_privilege(own.oid, 'CREATE'), false) AS may_create_schema,
       current_setting('search_path') AS search_path_setting,
       current_setting('jit') AS jit_setting,
       to_json(current_schemas(false))::text AS search_path,
       (SELECT coalesce(json_agg(n.nspname ORDER BY n.nspname), '[]')::text
        FROM pg_namespace n
        WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'onerow')) AS schemas,
       (SELECT json_object_agg(s.name, current_setting(s.name))::text
        FROM unnest(ARRAY['wal_level', 'lock_timeout', 'deadlock_timeout',
                          'default_transaction_isolation', 'session_replication_role',
                          'server_encoding', 'block_size']) s(name)) AS settings
FROM pg_roles r
LEFT JOIN pg_namespace own ON own.nspname = 'onerow'
WHERE r.rolname = current_user
