"""Benchmarks of the data path: `python -m tests.bench` (see `--help`).

Contenders do the same job over the same table against the same draining server: rows
in a Parquet file become message batches, their results become a Parquet file with the
answers. What is measured is CPU time of the contender's process after its imports, so
that neighbours on the machine disturb little, and peak memory above what it had then.
Contenders take turns, and medians count.
"""
