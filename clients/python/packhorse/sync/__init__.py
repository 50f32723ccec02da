"""Packhorse for programs without an event loop: the same, without `await`.

    with packhorse.sync.connect() as client:
        print(client.run("thumb", {"url": "cat.png"}))

Each client has an event loop in a thread of its own, and may be used from several threads.
Made by `generate_sync.py` from the asynchronous classes: change those.
"""

from packhorse.sync.client import Client, connect
from packhorse.sync.job import Job
from packhorse.sync.outcome import Outcome

__all__ = ["Client", "Job", "Outcome", "connect"]
