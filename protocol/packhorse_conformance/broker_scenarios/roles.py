"""What a connection may ask for: its roles."""

from packhorse_conformance.scenario import scenario
from packhorse_conformance.site import Site, ref
from packhorse_conformance.values import Message
from packhorse_conformance.verdict import expect
from packhorse_protocol.messages import ROLES

NOBODY = "no-such-job-of-any-role"
CLAIM = {"job": NOBODY, "token": bytes(16)}

REQUESTS: dict[str, tuple[Message, ...]] = {
    "create": ({"t": "cancel", "jobs": [NOBODY]},),
    "run": (
        {"t": "take", "types": {}, "credit": 0},
        {"t": "claim", "jobs": [NOBODY]},
        {"t": "release", "claims": [CLAIM]},
        {"t": "extend", "claims": [{**CLAIM, "run_ms": 1}]},
        {"t": "progress", "reports": [{**CLAIM, "percent": 1}]},
        {"t": "log", "reports": [{**CLAIM, "messages": ["x"]}]},
        {"t": "complete", "jobs": [CLAIM]},
        {"t": "fail", "jobs": [{**CLAIM, "error": {}}]},
        {"t": "publish", "schemas": [{"type": NOBODY, "schema": b"no JSON"}]},
    ),
    "handle": (
        {"t": "handle", "jobs": [NOBODY]},
        {"t": "handled", "jobs": [NOBODY]},
        {"t": "join", "groups": []},
    ),
    "read": (
        {"t": "get", "jobs": [NOBODY]},
        {"t": "list", "limit": 1},
        {"t": "attempts", "jobs": [NOBODY]},
        {"t": "why", "jobs": [NOBODY]},
        {"t": "logs", "job": NOBODY},
        {"t": "watch", "jobs": [NOBODY]},
        {"t": "unwatch", "jobs": [NOBODY]},
        {"t": "counts", "types": [NOBODY]},
        {"t": "types", "types": [NOBODY]},
        {"t": "schema", "types": [NOBODY]},
        {"t": "minutes", "type": NOBODY},
        {"t": "actions", "limit": 1},
        {"t": "info"},
    ),
    "admin": (
        {"t": "retry", "jobs": [NOBODY]},
        {"t": "run_now", "jobs": [NOBODY]},
        {"t": "remove", "jobs": [NOBODY]},
        {"t": "configure", "types": [{"type": NOBODY, "paused_until": 1}]},
    ),
}
"""Role to requests of it, which change nothing."""


@scenario("7")
async def grants_what_was_asked_for(site: Site) -> None:
    """The `welcome` names the roles that the `hello` asked for, and no others."""
    for role in ROLES:
        wire = await site.client(roles=[role])
        expect(wire.welcome["roles"] == [role], f"the role `{role}`", wire.welcome)


@scenario("7")
async def forbids_the_requests_of_others(site: Site) -> None:
    """Each request is allowed with its role, and `forbidden` with all others but that."""
    for role, requests in REQUESTS.items():
        allowed = await site.client(roles=[role])
        others = await site.client(roles=[other for other in ROLES if other != role])
        for number, request in enumerate(requests, start=1):
            allowed.send({**request, "id": number})
            answer = await allowed.answer(number)
            expect(answer["t"] == "ok", f"`{request['t']}` with the role `{role}`", answer)
            others.send({**request, "id": number})
            await others.refusal("forbidden", number)


@scenario("7")
async def wants_both_roles_to_handle(site: Site) -> None:
    """A `create` that makes handlers needs `handle` too; one that would join is refused alone."""
    wire = await site.client(roles=["create"])
    await wire.refused("forbidden", "create", jobs=[site.new()], handle=True)
    await wire.refused("forbidden", "create", jobs=[site.new()], group=site.name("group"))
    join = site.new(unique={"key": "k", "on_duplicate": "join"})
    good, bad = await site.create(wire, site.new(), join)
    expect("job" in good, "the other item to be done", good)
    expect(bad.get("problem", {}).get("code") == "forbidden", "`forbidden`", bad)


@scenario("7")
async def lets_anybody_leave(site: Site) -> None:
    """`beat` and `bye` need no role."""
    wire = await site.client(roles=["create"])
    wire.send({"t": "beat"})
    answer = await wire.answer(wire.begin("bye"))
    expect(answer["t"] == "ok", "`ok`", answer)


@scenario("7")
async def sends_no_pushes_of_others(site: Site) -> None:
    """A connection without `handle` gets no outcomes; they come when it has the role again."""
    wire = await site.client()
    claim = await site.claimed(wire, handle=True)
    back = await site.resume(wire, roles=["run", "read"])
    await back.claims(1)
    await back.one("complete", jobs=[ref(claim)])
    await back.fence()
    back.nothing_more("outcomes")
    again = await site.resume(wire)
    await again.outcomes(1)
