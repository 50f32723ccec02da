"""Who is measured."""

from typing import Final

from benchmarks.peers.beanstalkd import Beanstalkd
from benchmarks.peers.bullmq import BullMQ
from benchmarks.peers.celery import Celery
from benchmarks.peers.faktory import Faktory
from benchmarks.peers.gearman import Gearman
from benchmarks.peers.nats import Nats
from benchmarks.peers.packhorse import Packhorse
from benchmarks.peers.packhorse_prefetch import PackhorsePrefetch
from benchmarks.peers.peer import Peer
from benchmarks.peers.rq import RQ
from benchmarks.peers.saq import Saq

ROSTER: Final[dict[str, Peer]] = {
    peer.name: peer
    for peer in (
        *(Packhorse(), PackhorsePrefetch(), Faktory(), BullMQ(), Beanstalkd(), Nats()),
        *(Gearman(), Saq(), Celery(), RQ()),
    )
}
"""By name, in the order of the tables."""
