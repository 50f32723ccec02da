"""Short forms of the commands that tests of the store ask for most."""

from itertools import count
from typing import Final

from packhorse_broker.jobs.commands import Claim, Create, OnDuplicate
from packhorse_broker.jobs.model import Job, State
from packhorse_broker.jobs.terms import Terms

_NONCES: Final = count(1)


def create(
    job_id: str,
    job_type: str = "mail",
    body: bytes = b"body",
    *,
    handler: str | None = None,
    attempts: int = 1,
    persistent: bool = False,
    group: str | None = None,
    delay_until: int = 0,
    terms: Terms | None = None,
    on_duplicate: OnDuplicate = OnDuplicate.REJECT,
) -> tuple[str, Create]:
    """An item of a submission that creates this job."""
    return job_id, Create(
        job_id,
        job_type,
        body,
        "maker",
        handler=handler,
        attempts=attempts,
        persistent=persistent,
        group=group,
        delay_until=delay_until,
        terms=terms,
        on_duplicate=on_duplicate,
    )


def claim(client: str = "ann") -> Claim:
    """A claim with a nonce of its own."""
    return Claim(client, next(_NONCES).to_bytes(8, "big"))


def first_token(claimed: Claim) -> bytes:
    """The token that this claim gets if it is the first of its job."""
    return (1).to_bytes(8, "big") + claimed.nonce


def stored(job_id: str) -> Job:
    """A QUEUED job's record, as somebody else may have written it."""
    return Job(id=job_id, type="mail", state=State.QUEUED, version=1, order=1, body=b"")
