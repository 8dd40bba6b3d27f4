"""What came back: one part per batch, joined by position, counted, and its bill.

Imports `results`, `engine` and what is below them; `output`, `plans` and `steps`
import from here.
"""
