"""`create` with terms, `cancel`, `retry`, `run-now` and `rm` against a real broker."""

import re

import click
import pytest

from tests.client.terminal import Terminal, run

# -- create ---------------------------------------------------------------------------------------


async def test_create_on_terms(terminal: Terminal) -> None:
    said = await terminal(
        *("create", "later", "--id", "a", "--delay", "1h", "--priority", "7", "--attempts", "3"),
        *("--backoff", "exponential:1s..10m:full", "--lost-limit", "2", "--keep", "1d"),
        *("--idle-timeout", "1m", "--run-timeout", "2m", "--total-timeout", "3m"),
        *("--label", "nightly", "--label", "cats", "--unique", "k", "--unique-window", "1h"),
        *("--group", "mailers"),
    )
    assert (said.status, said.out, said.err) == (0, "a\n", "")
    [shown] = (await terminal("show", "a", "--json")).objects()
    assert (shown["state"], shown["priority"], shown["attempts"]) == ("PENDING", 7, 3)
    assert shown["delayed_until"].endswith("Z")
    assert (shown["keep_ms"], shown["lost_limit"], shown["groups"]) == (86_400_000, 2, ["mailers"])
    assert shown["timeouts"] == {"idle_ms": 60_000, "run_ms": 120_000, "total_ms": 180_000}
    assert (shown["unique"]["key"], shown["unique"]["scope"]) == ("k", "window")
    assert set(shown["labels"]) == {"nightly", "cats"}
    said = await terminal("show", "a")
    lines = dict(re.split(r"  +", line, maxsplit=1) for line in said.out.splitlines())
    assert lines["timeouts"] == "idle 1m, run 2m, total 3m"
    assert lines["unique"] == "k (window)"
    assert lines["handlers"] == "group mailers"


async def test_create_at_a_time(terminal: Terminal) -> None:
    await terminal("create", "later", "--id", "a", "--at", "2099-12-01T08:00Z")
    [shown] = (await terminal("show", "a", "--json")).objects()
    assert shown["delayed_until"] == "2099-12-01T08:00:00.000Z"


async def test_create_a_duplicate(terminal: Terminal) -> None:
    await terminal("create", "later", "n:=1", "--id", "a", "--unique", "k")
    said = await terminal("create", "later", "n:=2", "--unique", "k")
    assert (said.status, said.out) == (4, "")
    assert re.fullmatch(r"error: job [\w~]+: job a holds .* \[duplicate\]\n", said.err)
    said = await terminal("create", "later", "n:=2", "--unique", "k", "--on-duplicate", "replace")
    assert (said.status, said.out) == (0, "a\n")
    assert said.err == "job a has the unique key: replaced\n"
    more = ("--unique", "k", "--on-duplicate", "join", "--json")
    assert (await terminal("create", "later", "n:=2", *more)).status == 2
    said = await terminal("create", "later", "n:=2", *more, "--group", "shop")
    assert said.objects() == [{"id": "a", "type": "later", "duplicate": "joined"}]


# -- by id ----------------------------------------------------------------------------------------


async def test_cancel(terminal: Terminal) -> None:
    for job_id in "abc":
        await terminal("create", "later", "--id", job_id)
    said = await terminal("cancel", "a", "b", "--why", "wrong input")
    assert (said.status, said.out, said.err) == (0, "a  FAILED\nb  FAILED\n", "")
    said = await terminal("show", "a")
    assert "FAILED (CANCELLED)" in said.out
    assert re.search(r"cancel +by \S+@\S+ at .*: wrong input\n", said.out)
    said = await terminal("cancel", "c", "--grace", "5s", "--json")
    assert said.objects() == [{"id": "c", "state": "FAILED"}]
    assert (await terminal("cancel", "gone")).status == 3


async def test_retry(terminal: Terminal) -> None:
    await terminal("create", "fail", "--id", "a", "--persistent", "--wait")
    said = await terminal("retry", "a", "--attempts", "2")
    assert (said.status, said.out) == (0, "a  QUEUED\n")
    said = await terminal("retry", "a", "b")
    assert said.status in (3, 4)
    assert "error: job b: there is no such job [not_found]\n" in said.err


async def test_run_now(terminal: Terminal) -> None:
    await terminal("create", "later", "--id", "a", "--delay", "1h")
    assert (await terminal("run-now", "a", "--why", "now")).out == "a  QUEUED\n"
    said = await terminal("run-now", "a")
    assert (said.status, said.err) == (4, "error: job a: the job is QUEUED [wrong_state]\n")
    said = await terminal("logs", "a")
    assert re.search(r"  #0  \S+@\S+: run_now: now\n$", said.out)


async def test_remove(terminal: Terminal) -> None:
    for job_id in "abcd":
        await terminal("create", "later", "--id", job_id)
    assert (await terminal("rm", "a", "b")).out == "a  REMOVED\nb  REMOVED\n"
    said = await terminal("rm", "c", "--json")
    assert said.objects() == [{"id": "c", "state": "REMOVED"}]
    said = await terminal("rm", "d", "gone")
    assert (said.status, said.out) == (3, "d  REMOVED\n")
    assert said.err == "error: job gone: there is no such job [not_found]\n"
    await terminal("create", "later", "--id", "e")
    said = await terminal("rm", "e", "--state", "failed", "--state", "COMPLETE")
    assert (said.status, said.out) == (4, "")
    said = await terminal("rm", "a")
    assert (said.status, said.out) == (3, "")
    assert said.err.count("\n") == 1


# -- all that match -------------------------------------------------------------------------------


async def test_all_that_match(terminal: Terminal) -> None:
    for job_id in "abc":
        await terminal("create", "later", "--id", job_id, "--label", "x", "--delay", "1h")
    await terminal("create", "other", "--label", "x")
    chosen = ("--type", "later", "--label", "x")
    said = await terminal("run-now", *chosen, "--dry-run")
    assert (said.status, said.out) == (0, "would run now 3 jobs\n")
    assert (await terminal("run-now", *chosen, "--yes")).out == "run now: 3 of 3 jobs\n"
    said = await terminal("cancel", *chosen, "--state", "queued", "--yes", "--json")
    assert said.objects() == [{"found": 3, "changed": 3, "duplicates": 0}]
    said = await terminal(
        "retry", *chosen, "--reason", "cancelled", "--since", "1h", "--yes", "--why", "again"
    )
    assert said.out == "retry: 3 of 3 jobs\n"
    said = await terminal("rm", *chosen, "--until", "2099-01-01", "--yes")
    assert said.out == "remove: 3 of 3 jobs\n"
    assert (await terminal("rm", "--all", "--yes")).out == "remove: 1 of 1 jobs\n"


async def test_what_another_job_stands_for_now_is_not_retried(terminal: Terminal) -> None:
    for job_id in "ab":
        await terminal("create", "later", "--id", job_id, "--unique", "k")
        await terminal("cancel", job_id)
    await terminal("create", "later", "--id", "c")
    await terminal("cancel", "c")
    chosen = ("--type", "later", "--reason", "cancelled", "--yes")
    said = await terminal("retry", *chosen)
    assert (said.status, said.err) == (0, "")
    assert said.out == "retry: 2 of 3 jobs (1 unchanged: another job has the unique key)\n"
    said = await terminal("retry", *chosen, "--json")
    assert said.objects() == [{"found": 1, "changed": 0, "duplicates": 1}]


async def test_many_are_not_changed_unasked(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    await terminal("create", "later")
    said = await terminal("rm", "--all")
    assert (said.status, said.out) == (2, "")
    assert said.err == "error: remove 1 jobs: say --yes\n"
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    for answer, status, left in (("n", 130, 1), ("y", 0, 0)):
        monkeypatch.setattr(click.termui, "visible_prompt_func", lambda _, answer=answer: answer)
        assert (await terminal("rm", "--all")).status == status
        assert len((await terminal("list", "--json")).objects()) == left


@pytest.mark.parametrize("verb", ["cancel", "retry", "run-now", "rm"])
def test_jobs_are_named_or_chosen(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    found = run(capsys, verb)
    said = "error: name jobs, or say what they have in common, or --all\n"
    assert (found.status, found.err) == (2, said)
    for more in (["--type", "t"], ["--all"], ["--since", "1h"], ["--dry-run"]):
        found = run(capsys, verb, "a", *more)
        said = "error: name jobs, or say what they have in common, not both\n"
        assert (found.status, found.err) == (2, said)


def test_a_state_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    found = run(capsys, "rm", "--state", "done")
    assert found.status == 2
    assert found.err.startswith("error: Invalid value for '--state': 'done' is not one of")


async def test_a_state_in_which_it_can_not_be(terminal: Terminal) -> None:
    said = await terminal("retry", "--all", "--state", "queued", "--yes")
    assert said.status == 2
    assert said.err == "error: --state: QUEUED jobs can't be retried, only FAILED\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--at", "soon"],
            "--at: 'soon' is no time: write 2026-12-01T08:00, or with a zone 08:00Z",
        ),
        (["--delay", "soon"], "--delay: 'soon' is no duration: write 250ms, 30s or 1h30m"),
        (["--backoff", "x"], "--backoff: 'x' is none: write fixed:30s, linear:10s..5m, "),
        (["--on-duplicate", "join"], "--unique-scope, --unique-window and --on-duplicate need"),
        (
            ["--unique", "k", "--unique-scope", "window"],
            "--unique: the scope `window` and a",
        ),
        (["--priority", "2000"], "Invalid value for '--priority': 2000 is not in the range"),
        (["--keep", "-1s"], "--keep: '-1s' is no duration"),
    ],
)
def test_terms_that_can_not_be(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    found = run(capsys, "create", "t", *arguments)
    assert (found.status, found.out) == (2, "")
    assert found.err.startswith(f"error: {said}")
    assert found.err.count("\n") == 1
