-- Whether we may set session_replication_role; before 15 a superuser's right that cannot be given.
SELECT rolsuper AS allowed FROM pg_roles WHERE rolname = current_user
