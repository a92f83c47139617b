"""How to change: one module per tool, mirrors `facts`; no feature known."""
