"""Who takes part: each module has `run(work, meter)`."""
