"""One of several broker processes, started by their supervisor:

    python -m packhorse_broker.broker_process DESCRIPTOR

The descriptor is that of a socket (`process_link.py`). It ends when the supervisor says so, or is
gone. SIGTERM drains this one alone, and the supervisor starts another in its place; Ctrl-C in a
terminal is the supervisor's affair.
"""

import asyncio
import socket
import sys
from typing import Final

import uvloop

from packhorse_broker.addresses import ListenError
from packhorse_broker.broker import Broker
from packhorse_broker.daemon import run
from packhorse_broker.end_requests import EndRequests
from packhorse_broker.logs import set_up as set_up_logs
from packhorse_broker.process_link import (
    MAX_LINE_BYTES,
    Assignment,
    End,
    Failed,
    Ready,
    read_order,
    write_line,
)
from packhorse_broker.store.errors import StoreError

FAILED: Final = 1
"""Exit status of a process that could not start or go on."""


async def main(descriptor: int) -> int:
    """Its exit status."""
    # Who sends SIGTERM to all processes of a service sends it to the supervisor, too, which has
    # told this one already: that is no second request.
    requests = EndRequests(signals_repeat=False)
    requests.listen_to_signals()
    reader, writer = await asyncio.open_connection(
        sock=socket.socket(fileno=descriptor), limit=MAX_LINE_BYTES
    )
    line = await reader.readline()
    if not line:
        return FAILED
    assignment = read_order(line)
    assert isinstance(assignment, Assignment), "the first line says what to be"
    config = assignment.config
    set_up_logs(level=config.log_level, log_format=config.log_format, process=assignment.process)
    listening = asyncio.create_task(_listen(reader, requests))
    broker = Broker(
        config,
        assignment.store_url,
        shared={path: socket.socket(fileno=fd) for path, fd in assignment.sockets.items()},
    )
    try:
        await run(broker, lambda: writer.write(write_line(Ready(broker=broker.id))), requests)
    except (ListenError, StoreError) as error:
        writer.write(write_line(Failed(problem=str(error))))
        return FAILED
    finally:
        listening.cancel()
        writer.close()
    return 0


async def _listen(reader: asyncio.StreamReader, requests: EndRequests) -> None:
    async for line in reader:
        requests.first.set()
        if isinstance(read_order(line), End):
            requests.second.set()
    requests.first.set()


if __name__ == "__main__":
    sys.exit(uvloop.run(main(int(sys.argv[1]))))
