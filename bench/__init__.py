"""Measurements: each figure is a ratio to what one would do without onerow, on the same machine.

python -m bench              what can be measured
python -m bench merge        one subject; --rows, --share, --engine, --rounds, --config change it
python -m bench all          every subject at the size of its target, unattended (make bench)
"""
