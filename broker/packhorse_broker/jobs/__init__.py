"""The job and its state machine: pure data and pure functions.

No I/O, no clock, no randomness, no log: time, order and random bytes come in as arguments, so a
decision can be made again after a conflict in the store, and every rule is testable alone.
"""
