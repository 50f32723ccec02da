"""What can be set about a broker: each setting with its unit, default, bounds and reason.

`Config` is frozen and checks itself, however it was made: `Config(max_batch=50)` in a program,
`sources.load` for the daemon (defaults < file < environment < flags). `SETTINGS` describes the
fields for the command line and the documentation.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from packhorse_broker.durations import format_ms
from packhorse_broker.settings import ConfigError, check, count, describe, duration, plain, size
from packhorse_protocol.limits import MAX_FRAME_BYTES

HEARTBEATS_PER_TIMEOUT: Final = 3
"""A client must be able to miss two heartbeats in a row and still be alive."""
FRAME_OVERHEAD_BYTES: Final = 512 * 1024
"""Room that a frame needs beside one job's payload and result: a traceback, headers, map keys."""
MAX_SHARED_NAME_CHARS: Final = 60
"""Of a broker_name to which `-256` is added at most."""

_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS
_KIB: Final = 1024
_MIB: Final = 1024 * _KIB
_GIB: Final = 1024 * _MIB


def default_data_dir() -> Path:
    """`packhorse` in the user's data folder, as the XDG base directory rules place it."""
    configured = os.environ.get("XDG_DATA_HOME", "")
    # The rules say that a relative path there is to be ignored.
    home = Path(configured) if configured.startswith("/") else Path.home() / ".local" / "share"
    return home / "packhorse"


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All settings of a broker. Raises ConfigError when one is out of bounds or two disagree."""

    listen: Annotated[
        tuple[str, ...],
        plain(
            "addresses",
            "Where clients connect. Port 0 takes any free port; the loopback address is the "
            "default because nothing is encrypted on it.",
            "addresses such as tcp://127.0.0.1:7225, tcp://[::1]:7225 or unix:///path",
        ),
    ] = ("tcp://127.0.0.1:7225",)
    processes: Annotated[
        int,
        count(
            0,
            256,
            "Broker processes behind these addresses, each on a core of its own; bounds such as "
            "max_connections are those of each. 0: as many as there are cores. Linux only.",
        ),
    ] = 1
    store: Annotated[
        str | None,
        plain(
            "store",
            "The Redis or Valkey that keeps the jobs. Unset: an embedded one in data_dir.",
            "redis://host:port/db, unix:///path, sentinel://host:port,host:port/name or "
            "cluster://host:port,host:port; with TLS rediss://, sentinels:// or clusters://",
        ),
    ] = None
    partitions: Annotated[
        int,
        count(
            0,
            1_024,
            "Parts that the jobs are spread over, each on one primary of a Cluster. It is fixed "
            "when the store is first used. 0: 16 on a Cluster, else 1.",
        ),
    ] = 0
    durability: Annotated[
        Literal["store", "disk", "replicated"],
        plain(
            "choice",
            "What has to be before a change is answered. store: the store has done it, and keeps "
            "it as it is set up; disk: it is on the store's disk; replicated: replicas have it.",
        ),
    ] = "store"
    replicas: Annotated[
        int,
        count(1, 100, "Replicas of the store that have to have a change that is replicated."),
    ] = 1
    durability_wait_ms: Annotated[
        int,
        duration(
            1,
            60_000,
            "How long is waited for a disk or for replicas, before a change is answered as done "
            "but not_met. The changes behind it wait as well.",
        ),
    ] = 1_000
    store_checks: Annotated[
        Literal["refuse", "warn"],
        plain(
            "choice",
            "What is done with a store that would lose jobs without a word, such as one that "
            "evicts keys. refuse: the broker does not start.",
        ),
    ] = "refuse"
    store_full_percent: Annotated[
        int,
        count(
            1,
            100,
            "So full may the store's memory be, of its maxmemory, before no more jobs are "
            "created. What is left is for those that are there to end.",
        ),
    ] = 85
    data_dir: Annotated[
        Path,
        plain(
            "path",
            "Folder of the embedded store. One daemon at a time uses it.",
            "the absolute path of a folder",
        ),
    ] = msgspec.field(default_factory=default_data_dir)
    prefix: Annotated[
        str,
        plain(
            "text",
            "Starts every key in the store, so that several Packhorses can share one.",
            "1 to 16 of the characters a-z, 0-9, _ and -",
            pattern=r"^[a-z0-9_-]{1,16}\Z",
        ),
    ] = "ph"
    broker_name: Annotated[
        Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,64}\Z")] | None,
        plain(
            "text",
            "Names this broker to clients, in logs and in the store's client list. Unset: a "
            "random name for each start.",
            "1 to 64 of the characters A-Z, a-z, 0-9, . _ and -",
        ),
    ] = None

    max_connections: Annotated[
        int,
        count(1, 1_000_000, "Connections at once. Each costs a file descriptor and its buffers."),
    ] = 10_000
    max_unauthenticated: Annotated[
        int,
        count(
            1,
            1_000_000,
            "Connections at once that have not said hello yet, so that strangers can't take "
            "all the places of clients.",
        ),
    ] = 200
    handshake_timeout_ms: Annotated[
        int,
        duration(10, 60_000, "How long a connection may take to say hello before it is closed."),
    ] = 5_000
    max_frame_bytes: Annotated[
        int,
        size(
            128 * _KIB,
            MAX_FRAME_BYTES,
            "One frame after the hello. Bounds what one message makes the broker hold.",
        ),
    ] = 4 * _MIB
    max_payload_bytes: Annotated[
        int,
        size(
            1,
            MAX_FRAME_BYTES,
            "One job's payload. Larger things belong in a file or an object store.",
        ),
    ] = _MIB
    max_result_bytes: Annotated[
        int, size(1, MAX_FRAME_BYTES, "One job's result. It is pushed to every handler of the job.")
    ] = _MIB
    max_batch: Annotated[
        int,
        count(1, 100_000, "Jobs in one request. A batch is worked on in one go while others wait."),
    ] = 1_000
    max_in_flight: Annotated[
        int,
        count(
            1,
            1_000_000,
            "Requests of one connection that wait for their answers. At the bound the broker "
            "stops reading from it.",
        ),
    ] = 1_024
    max_outbox_bytes: Annotated[
        int,
        size(
            64 * _KIB,
            _GIB,
            "What waits to be sent to one connection. A reader so slow that it is exceeded "
            "is disconnected and resumes later.",
        ),
    ] = 8 * _MIB

    heartbeat_ms: Annotated[
        int,
        duration(10, 600_000, "Silence after which either side sends a heartbeat."),
    ] = 10_000
    client_timeout_ms: Annotated[
        int,
        duration(
            10,
            _DAY_MS,
            "Silence after which a client that named no timeout of its own is removed and "
            "its jobs go to others.",
        ),
    ] = 30_000
    min_client_timeout_ms: Annotated[
        int,
        duration(
            10,
            _DAY_MS,
            "The shortest timeout that a client may ask for: shorter than a pause of the "
            "network or of a garbage collector it would be removed for nothing.",
        ),
    ] = 500
    max_client_timeout_ms: Annotated[
        int,
        duration(
            10,
            30 * _DAY_MS,
            "The longest timeout that a client may ask for: so long a dead runner keeps its jobs.",
        ),
    ] = _HOUR_MS
    last_response_flush_ms: Annotated[
        int,
        duration(
            10,
            60_000,
            "How often the clients' last responses go to the store, all in one write. Others "
            "see a client's last response this much late.",
        ),
    ] = 1_000
    sweep_ms: Annotated[
        int,
        duration(
            10,
            60_000,
            "How often the broker looks for what is due: timers, dead clients, missed events.",
        ),
    ] = 1_000
    drain_ms: Annotated[
        int,
        duration(
            0,
            _HOUR_MS,
            "How long a broker that was told to stop waits for its clients to leave. Keep it "
            "below the time after which a supervisor kills.",
        ),
    ] = 20_000

    complete_retention_ms: Annotated[
        int,
        duration(
            0,
            3_650 * _DAY_MS,
            "How long a completed job without handlers is kept, unless its type or the job itself "
            "says otherwise. 0: it goes at once.",
        ),
    ] = 0
    failed_retention_ms: Annotated[
        int,
        duration(
            0,
            3_650 * _DAY_MS,
            "How long a failed job without handlers is kept, so that people can look and retry.",
        ),
    ] = 7 * _DAY_MS
    lost_limit: Annotated[
        int,
        count(
            0,
            1_000,
            "So many runners that went away with a job set it aside as FAILED: it may be the job "
            "that kills them. A job can have a limit of its own. 0: no limit.",
        ),
    ] = 3
    cancel_grace_ms: Annotated[
        int,
        duration(
            0,
            _DAY_MS,
            "How long a runner has to end a cancelled job before its claim is taken away, unless "
            "the request says otherwise.",
        ),
    ] = 30_000
    max_log_entries: Annotated[
        int,
        count(
            1, 1_000_000, "Entries of progress and log kept for one job; the oldest are dropped."
        ),
    ] = 1_000
    max_log_bytes: Annotated[
        int,
        size(
            1024,
            _GIB,
            "Messages of progress and log kept for one job, in UTF-8; the oldest are dropped.",
        ),
    ] = _MIB
    max_log_message_bytes: Annotated[
        int, size(1, _MIB, "One log message or progress text, in UTF-8.")
    ] = 4_096

    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        plain("choice", "The least important log lines that are written."),
    ] = "info"
    log_format: Annotated[
        Literal["auto", "console", "json"],
        plain("choice", "How log lines look. auto: console on a terminal, else one JSON a line."),
    ] = "auto"
    store_timeout_ms: Annotated[
        int,
        duration(
            50,
            600_000,
            "How long the store may take to answer or to accept a connection before it counts "
            "as unavailable.",
        ),
    ] = 5_000

    def __post_init__(self) -> None:
        for setting in SETTINGS.values():
            check(setting, getattr(self, setting.name))
        self._check_together()

    def _check_together(self) -> None:
        self._check_processes()
        one_job_bytes = self.max_payload_bytes + self.max_result_bytes + FRAME_OVERHEAD_BYTES
        if one_job_bytes > self.max_frame_bytes:
            raise self._disagreement(
                "max_frame_bytes",
                f"must hold one job with its payload and result: at least max_payload_bytes + "
                f"max_result_bytes + {FRAME_OVERHEAD_BYTES} ({one_job_bytes})",
            )
        if self.max_outbox_bytes < self.max_frame_bytes:
            raise self._disagreement(
                "max_outbox_bytes",
                f"must hold one frame: at least max_frame_bytes ({self.max_frame_bytes})",
            )
        if self.durability != "store" and self.durability_wait_ms >= self.store_timeout_ms:
            raise self._disagreement(
                "durability_wait_ms",
                f"must be below store_timeout_ms ({format_ms(self.store_timeout_ms)})",
            )
        if self.min_client_timeout_ms > self.max_client_timeout_ms:
            raise self._disagreement(
                "min_client_timeout_ms",
                f"must be at most max_client_timeout_ms ({format_ms(self.max_client_timeout_ms)})",
            )
        least_ms, most_ms = self.min_client_timeout_ms, self.max_client_timeout_ms
        if not least_ms <= self.client_timeout_ms <= most_ms:
            raise self._disagreement(
                "client_timeout_ms",
                f"must be between min_client_timeout_ms ({format_ms(least_ms)}) "
                f"and max_client_timeout_ms ({format_ms(most_ms)})",
            )
        if self.heartbeat_ms * HEARTBEATS_PER_TIMEOUT > self.client_timeout_ms:
            raise self._disagreement(
                "heartbeat_ms",
                f"must be at most a third of client_timeout_ms "
                f"({format_ms(self.client_timeout_ms)}): a client may miss two heartbeats",
            )

    def _check_processes(self) -> None:
        if self.processes == 1:
            return
        if sys.platform != "linux":
            raise self._disagreement("processes", "must be 1: only Linux shares ports fairly")
        if self.broker_name is not None and len(self.broker_name) > MAX_SHARED_NAME_CHARS:
            raise self._disagreement(
                "broker_name",
                f"must be at most {MAX_SHARED_NAME_CHARS} characters with several processes: "
                "each adds its number",
            )

    def of_process(self, process: int, listen: Sequence[str]) -> "Config":
        """That of one of several processes, which needs a name of its own. `listen`: with ports."""
        name = self.broker_name and f"{self.broker_name}-{process}"
        return msgspec.structs.replace(self, broker_name=name, listen=tuple(listen))

    def _disagreement(self, name: str, problem: str) -> ConfigError:
        return ConfigError(problem, key=name, value=SETTINGS[name].shown(getattr(self, name)))

    def __repr__(self) -> str:
        fields = (f"{name}={text}" for name, text in self.shown().items())
        return f"Config({', '.join(fields)})"

    def __rich_repr__(self) -> Any:
        yield from self.shown().items()

    def shown(self) -> dict[str, str]:
        """Each setting as people may see it: durations as text, no password."""
        return {name: setting.shown(getattr(self, name)) for name, setting in SETTINGS.items()}


SETTINGS: Final = describe(Config)
"""Every field of Config by name, in the order of their definition."""
