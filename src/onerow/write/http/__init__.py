"""HTTP answers for what a write can end in, and Idempotency-Key.

`starlette` (FastAPI too), `flask` and `django` install them; `problem` and `idempotency` are pure.
"""
