"""The output table, and DataFrames of the caller's own kind.

Imports `parts` and what is below it; `plans` and `steps` import from here.
"""
