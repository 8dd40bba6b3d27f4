"""Random histories of a run: killed, faulted, raced, resumed, and in the end exact.

    python -m tests.histories --seeds 500

Each seed makes a table, a sandbox with faults and a noisy neighbour, and processes that
run the job and are killed with SIGKILL at chosen moments, until one comes to the end.
Then the books must balance (`checks`).
"""
