"""Before anything is sent: what will be sent, in which batches, at which cost.

What was paid for already is found and taken over here. Imports `output`, `parts`,
`engine` and what is below them; `steps` imports from here.
"""
