"""How a run goes on, round after round, and how it is ended and cleaned up.

Imports `steps`, `hosts` and what is below them; `pipeline`, `sweeping` and `cli`
import from here.
"""
