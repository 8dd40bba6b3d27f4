"""The new columns of a row: the schema that is sent, and how an answer is read.

Imports `ground`, `limits`, `errors` and `parameters` only.
"""
