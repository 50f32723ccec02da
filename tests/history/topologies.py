"""The stores that a run can have, each by its word."""

from collections.abc import Callable
from functools import partial
from typing import Final

from tests.history.cluster import Clustered
from tests.history.history import Recorder
from tests.history.sentinel import WatchedBySentinels
from tests.history.topology import Embedded, Topology

TOPOLOGIES: Final[dict[str, Callable[[Recorder], Topology]]] = {
    "embedded": Embedded,
    "partitioned": partial(Embedded, partitions=4),
    "cluster": Clustered,
    "cluster-replicated": partial(Clustered, replicated=True),
    "sentinel": partial(WatchedBySentinels, replicated=False),
    "sentinel-replicated": partial(WatchedBySentinels, replicated=True),
}
"""`partitioned` has several partitions at one server, between which and the brokers anything can
happen. With `-replicated` is answered what one replica has, and a primary takes nothing without
one."""
