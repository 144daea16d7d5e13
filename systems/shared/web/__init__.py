"""What the servers of all systems share: tokens, errors, limits, pages, the command that serves.

A system has a `make(serving)` that returns its application, built on `application.make_app`.
"""
