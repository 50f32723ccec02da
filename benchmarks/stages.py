"""Which stage of a job's way a function belongs to: by its module's name, and by nothing else.

A broker's module that no stage names is `other`. What is neither the broker's nor the client's
(the protocol, libraries, generated code) is counted for whoever called it; what the event loop and
the benchmarks do themselves is not counted: a broker's loop is written in C.
"""

from typing import Final

BROKER: Final = "packhorse_broker"
CLIENT: Final = "packhorse"
PROTOCOL: Final = "packhorse_protocol"

OTHER: Final = "other"
"""Of the broker, in modules that no stage names."""
MESSAGES: Final = "messages"
"""The protocol, called by the broker: bytes to messages and back."""
CLIENT_OTHER: Final = "client"
CLIENT_MESSAGES: Final = "client messages"
WORKER: Final = "worker"
"""What the client's modules do that run jobs."""
CLIENT_STAGES: Final = (CLIENT_OTHER, CLIENT_MESSAGES, WORKER)

STAGES: Final[dict[str, tuple[str, ...]]] = {
    "socket": ("connection", "intake", "server"),
    "dispatch": (
        *("changing", "contents", "dispatch", "finding", "governing", "looking", "operations"),
        *("reception", "weights"),
    ),
    "decide": ("jobs",),
    "read": (
        *("store.backlog", "store.bodies", "store.candidates", "store.committer"),
        *("store.committers", "store.draws", "store.durability", "store.foresight", "store.heads"),
        *(
            "store.round",
            "store.shares",
            "store.supply",
            "store.types",
            "store.usage",
            "store.work",
            "store.writer",
        ),
    ),
    "records": ("store.records",),
    "pack": (
        *("store.changes", "store.full", "store.indexes", "store.keys", "store.minutes"),
        *("store.packing", "store.writes"),
    ),
    "store wire": ("store.link", "store.read_lane", "store.replies", "store.transaction"),
    "push": (
        *("cancelling", "dealing", "delivery", "fanout", "feeder", "group_delivery"),
        *("group_members", "holding", "notices", "outages", "places", "pushes", "sessions"),
        *("store.takes", "timers", "trimming", "turns", "views", "watching"),
    ),
}
"""The broker's modules by stage, each with all below it."""

WORKER_MODULES: Final = (
    *("context", "deadlines", "execution", "failures", "functions", "injection", "middleware"),
    *("places", "reports", "runner", "worker"),
)

NOT_COUNTED: Final = (
    *("asyncio.base_events", "asyncio.events", "asyncio.selector_events", "asyncio.transports"),
    *("asyncio.unix_events", "benchmarks", "selectors", "__main__"),
)
"""The loop and the benchmarks, with what they call of others."""

ORDER: Final = (
    *("socket", MESSAGES, "dispatch", "read", "records", "decide", "pack", "store wire", "push"),
    *(OTHER, *CLIENT_STAGES),
)
"""All stages as a job walks through them, the client's last."""

_BY_MODULE: Final = {
    **{f"{BROKER}.{module}": stage for stage, modules in STAGES.items() for module in modules},
    **{f"{CLIENT}.{module}": WORKER for module in WORKER_MODULES},
    BROKER: OTHER,
    CLIENT: CLIENT_OTHER,
}


def stage_of(module: str) -> str | None:
    """Of a module of the broker or the client; None for any other."""
    name = module
    while name:
        if name in _BY_MODULE:
            return _BY_MODULE[name]
        name = name.rpartition(".")[0]
    return None


def messages_of(stage: str) -> str:
    """What the protocol's work counts as that this stage asked for."""
    return CLIENT_MESSAGES if stage in CLIENT_STAGES else MESSAGES


def is_protocol(module: str) -> bool:
    return _is_within(module, PROTOCOL)


def is_counted(module: str) -> bool:
    return not any(_is_within(module, name) for name in NOT_COUNTED)


def _is_within(module: str, name: str) -> bool:
    return module == name or module.startswith(f"{name}.")
