"""Going on in a sorted set after an entry that may be gone.

The store finds an entry by its rank, and a rank by an entry that is still there. Where the entry
is gone, its rank is searched for: first among scores, then by halving among members of the same
score. Meanwhile the set may change, so the page that is read begins a little earlier: only if it
begins at or before the entry is it known to leave nothing out.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from packhorse_broker.store.packing import Argument, pack

Entry: TypeAlias = tuple[int, bytes]
"""Score and member. One with an empty member is none of a set's: it stands before all members
of its score."""

Ask: TypeAlias = Callable[..., Awaitable[list[Any]]]
"""Packed commands, and their replies."""

PROBES: Final = 15
"""Ranks looked at in one exchange: a million entries of one score take five."""

SEEKS: Final = 5
"""How often a page is read anew because the set changed under it; then its reader comes again."""

MARGIN_GROWTH: Final = 8
"""Each time so many times as many entries before the place are read too: in all 4,096, more than
the store takes from a queue between two exchanges."""


async def entries_after(
    ask: Ask, key: bytes, after: Entry | None, limit: int, *, reverse: bool
) -> tuple[list[Entry], bool]:
    """At most `limit` entries after `after` (None: the first ones), and whether the set ends there.

    Without entries and without the end, the set changed too fast to tell: ask again. With
    `reverse` the set is read from its end, and "after" means before.
    """
    if after is None:
        found = await _range(ask, key, 0, limit, reverse=reverse)
        return found, len(found) < limit
    margin = 1
    for _ in range(SEEKS):
        rank = await _passed(ask, key, after, reverse=reverse)
        first = max(rank - margin, 0)
        count = rank - first + limit
        found = await _range(ask, key, first, count, reverse=reverse)
        new = [entry for entry in found if _is_after(entry, after, reverse=reverse)]
        whole = first == 0 or (bool(found) and not _is_after(found[0], after, reverse=reverse))
        at_end = len(found) < count
        if whole and (new or at_end):
            return new[:limit], at_end and len(new) <= limit
        margin *= MARGIN_GROWTH
    return [], False


async def _passed(ask: Ask, key: bytes, after: Entry, *, reverse: bool) -> int:
    """How many entries come up to `after`, itself included."""
    score, member = after
    before: Argument = ("ZCOUNT", key, f"({score}", "+inf") if reverse else _up_to(key, f"({score}")
    through: Argument = ("ZCOUNT", key, score, "+inf") if reverse else _up_to(key, score)
    rank, score_now, low, high = await ask(
        pack(("ZREVRANK" if reverse else "ZRANK", key, member)),
        pack(("ZSCORE", key, member)),
        pack(before),
        pack(through),
    )
    if not member:
        passed: int = high if reverse else low
        return passed
    if rank is not None and score_now is not None and _score(score_now) == score:
        return int(rank) + 1
    return await _search(ask, key, after, low, high, reverse=reverse)


def _up_to(key: bytes, score: str | int) -> Argument:
    return ("ZCOUNT", key, "-inf", score)


async def _search(ask: Ask, key: bytes, after: Entry, low: int, high: int, *, reverse: bool) -> int:
    """The rank of the first entry after `after`, which is from `low` to `high`."""
    while low < high:
        step = max((high - low) // (PROBES + 1), 1)
        ranks = range(low + step - 1, high, step)[:PROBES]
        replies = await ask(*(pack(_ranked(key, rank, rank, reverse=reverse)) for rank in ranks))
        for rank, reply in zip(ranks, replies, strict=True):
            if not reply or _is_after(_entries(reply)[0], after, reverse=reverse):
                high = rank
                break
            low = rank + 1
    return low


async def _range(ask: Ask, key: bytes, first: int, count: int, *, reverse: bool) -> list[Entry]:
    [reply] = await ask(pack(_ranked(key, first, first + count - 1, reverse=reverse)))
    return _entries(reply)


def _ranked(key: bytes, first: int, last: int, *, reverse: bool) -> Argument:
    command = ("ZRANGE", key, first, last)
    return (*command, "REV", "WITHSCORES") if reverse else (*command, "WITHSCORES")


def _entries(reply: list[bytes]) -> list[Entry]:
    return [(_score(score), member) for member, score in zip(reply[::2], reply[1::2], strict=True)]


def _score(reply: bytes) -> int:
    return int(float(reply))


def _is_after(entry: Entry, after: Entry, *, reverse: bool) -> bool:
    return entry < after if reverse else entry > after
