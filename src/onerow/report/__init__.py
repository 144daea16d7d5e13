"""Reports: values in, text or dictionaries out. Nothing here reads a database or prints.

`json` makes the documents of the command line, `text` what a person reads, `sql` a script;
`shapes` are the values that they read.
"""

from __future__ import annotations
