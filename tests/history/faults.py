"""Which faults happen when: drawn from a seed alone, so that a run can be repeated.

`schedule` is pure; `injection.py` performs what it drew.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

FIRST_AT_S: Final = 1.0
"""Before that all programs get to work."""

MEAN_GAP_S: Final = 0.6

WEIGHTS: Final[dict[str, int]] = {
    "kill broker": 8,
    "pause broker": 8,
    "kill store": 6,
    "pause store": 6,
    "kill runner": 12,
    "pause runner": 10,
    "kill producer": 5,
    "pause producer": 4,
    "kill handler": 6,
    "pause handler": 5,
    "cut": 10,
    "refuse": 5,
    "freeze": 8,
    "delay": 6,
    "trickle": 4,
    "cut store": 6,
    "exec cut before": 6,
    "exec answer lost": 10,
    "exec answer cut": 5,
    "exec held": 5,
    "kill primary": 5,
    "strand primary": 5,
    "pause primary": 8,
    "kill replica": 4,
    "pause replica": 4,
    "kill sentinel": 3,
    "pause sentinel": 2,
    "failover shard": 5,
    "move slot": 12,
}
"""How often each kind happens, in relation to the others for which there are targets."""

LENGTHS_S: Final[dict[str, tuple[float, float]]] = {
    "kill store": (0.1, 4.0),
    "pause store": (0.1, 4.0),
    "kill broker": (0.0, 3.0),
    "pause broker": (0.2, 4.0),
    "pause runner": (0.2, 4.0),
    "pause handler": (0.2, 4.0),
    "pause producer": (0.2, 3.0),
    "kill runner": (0.0, 4.0),
    "kill handler": (0.0, 4.0),
    "kill producer": (0.0, 3.0),
    "refuse": (0.2, 3.0),
    "freeze": (0.2, 4.0),
    "delay": (0.5, 3.0),
    "trickle": (0.2, 1.5),
    "kill primary": (1.0, 8.0),
    "strand primary": (1.0, 6.0),
    "pause primary": (0.1, 6.0),
    "kill replica": (0.1, 4.0),
    "pause replica": (0.1, 4.0),
    "kill sentinel": (0.1, 6.0),
    "pause sentinel": (0.1, 4.0),
}
"""Bounds of how long one lasts; kinds that are not here are over at once."""

DELAYS_MS: Final = (20, 300)


class Cast(Struct, frozen=True, kw_only=True):
    """Who there is to be hit."""

    brokers: Sequence[str]
    proxied: Sequence[str]
    """Brokers with something between them and their store."""
    servers: Mapping[str, Sequence[str]]
    """Of the store, by the word for them."""
    producers: Sequence[str]
    runners: Sequence[str]
    handlers: Sequence[str]

    @property
    def clients(self) -> Sequence[str]:
        return (*self.producers, *self.runners, *self.handlers)


class PlannedFault(Struct, frozen=True, kw_only=True):
    at_s: float
    """Since the begin of the run."""
    kind: str
    target: str
    """A process; of a network fault, the client whose links it hits."""
    length_s: float
    delay_ms: int = 0

    @property
    def until_s(self) -> float:
        return self.at_s + self.length_s


def schedule(seed: str, seconds: float, cast: Cast) -> list[PlannedFault]:
    """The faults of a run in order; no two at the same target at once, none after `seconds`."""
    chance = random.Random(f"{seed}/faults")
    planned: list[PlannedFault] = []
    busy_until: dict[str, float] = {}
    at_s = FIRST_AT_S
    weights = {kind: weight for kind, weight in WEIGHTS.items() if targets(kind, cast)}
    while True:
        at_s += chance.expovariate(1 / MEAN_GAP_S)
        [kind] = chance.choices(list(weights), list(weights.values()))
        target = chance.choice(targets(kind, cast))
        length_s = chance.uniform(*LENGTHS_S.get(kind, (0.0, 0.0)))
        delay_ms = chance.randint(*DELAYS_MS) if kind == "delay" else 0
        if at_s >= seconds:
            return planned
        if busy_until.get(target, 0.0) > at_s:
            continue
        length_s = min(length_s, seconds - at_s)
        busy_until[target] = at_s + length_s + 0.2
        planned.append(
            PlannedFault(
                at_s=round(at_s, 3),
                kind=kind,
                target=target,
                length_s=round(length_s, 3),
                delay_ms=delay_ms,
            )
        )


def targets(kind: str, cast: Cast) -> Sequence[str]:
    """Those of which a fault of this kind hits one."""
    match kind.split():
        case ["exec", *_] | ["cut", "store"]:
            return cast.proxied
        case [_, "broker"]:
            return cast.brokers
        case [_, "store" | "primary" | "replica" | "sentinel" | "shard" | "slot" as word]:
            return cast.servers.get(word, ())
        case [_, "runner"]:
            return cast.runners
        case [_, "producer"]:
            return cast.producers
        case [_, "handler"]:
            return cast.handlers
        case _:
            return cast.clients
