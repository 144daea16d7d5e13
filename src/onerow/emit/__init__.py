"""A plan in another tool's words: plain SQL, and revisions of Alembic."""
