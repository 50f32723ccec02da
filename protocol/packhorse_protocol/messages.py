"""Every message of the protocol as a frozen record, and all that messages are made of.

A message is a msgpack map whose key `t` holds the tag. A field is left out when it has its
default. Requests carry `id` and are answered by one `ok` or one `error` with the same `id`;
pushes carry none. `SPEC.md` says what each message means; the records say its shape.

This module gathers: `client_messages.py` and `broker_messages.py` declare the messages,
`parts.py` and `results.py` what is in them.
"""

# ruff: noqa: F403 - a gathering has all names of what it gathers.

from packhorse_protocol.broker_messages import *
from packhorse_protocol.client_messages import *
from packhorse_protocol.parts import *
from packhorse_protocol.results import *
from packhorse_protocol.tags import *
