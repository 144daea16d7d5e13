"""Functions that are pasted into revisions, each with those that it calls. Nobody imports them.

A static revision runs where onerow is not installed, so it brings along what it needs. As code of
the package, that is formatted, typed and read like all other code.
"""
