"""Flows to deploy: `batch_table` runs a model over a table, `sweep` looks after runs."""
