-- Whether we may set session_replication_role, which keeps triggers from firing.
SELECT has_parameter_privilege('session_replication_role', 'SET') AS allowed
