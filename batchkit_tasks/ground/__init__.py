"""What everything stands on: files on any filesystem, JSON, Arrow, memory, amounts.

Nothing here knows of batches, rows or runs, or imports anything else of ours.
"""
