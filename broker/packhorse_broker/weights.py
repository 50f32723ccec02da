"""How much a request asks for: the items of its batch."""

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Final

from packhorse_protocol.connection import BATCH_FIELD
from packhorse_protocol.messages import Request

_ITEMS: Final[dict[type, Callable[[Request], Sequence[object]]]] = {
    request: attrgetter(field) for request, field in BATCH_FIELD.items()
}


def items_of(request: Request) -> int:
    """The number of items of a batch request; 1 for any other."""
    items = _ITEMS.get(type(request))
    return 1 if items is None else len(items(request))
