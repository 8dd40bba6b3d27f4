"""Source tables: found, identified, staged as Parquet, read by position.

Imports `ground`, `records` and `errors` only; knows nothing of prompts or batches.
"""
