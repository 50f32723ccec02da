"""Who is measured."""

from typing import Final

from benchmarks.peers.beanstalkd import Beanstalkd
from benchmarks.peers.bullmq import BullMQ
from benchmarks.peers.gearman import Gearman
from benchmarks.peers.nats import Nats
from benchmarks.peers.packhorse import Packhorse
from benchmarks.peers.peer import Peer

ROSTER: Final[dict[str, Peer]] = {
    peer.name: peer for peer in (Packhorse(), BullMQ(), Beanstalkd(), Nats(), Gearman())
}
