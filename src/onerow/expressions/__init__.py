"""SQL expressions understood well enough to compare them: filters, index expressions, checks.

`parsing` makes trees of texts, `form` brings them to one form, `reading` says what follows from
what. All of it is one-sided: "the same" and "follows" are said only when they are sure, because a
wrong one would call a key enforced that is not.
"""

from __future__ import annotations

from onerow.expressions.form import compares_exactly
from onerow.expressions.parsing import columns_in, is_one_expression, parse
from onerow.expressions.reading import Reading

__all__ = ["Reading", "columns_in", "compares_exactly", "is_one_expression", "parse"]
