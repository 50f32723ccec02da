"""How much a request asks for: the items of its batch."""

from packhorse_protocol.messages import Configure, GetSchema, Publish, Request


def items_of(request: Request) -> int:
    """The number of items of a batch request; 1 for any other."""
    for name in ("jobs", "claims", "reports"):
        items = getattr(request, name, None)
        if items is not None:
            return len(items)
    if isinstance(request, Configure | GetSchema):
        return len(request.types)
    return len(request.schemas) if isinstance(request, Publish) else 1
