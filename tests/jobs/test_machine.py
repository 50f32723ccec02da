"""The state machine as a table: what each command makes of a job in each state."""

import copy
from itertools import product
from typing import Final, get_args

import pytest

from packhorse_broker.jobs.commands import (
    Cancel,
    Claim,
    Command,
    Complete,
    Create,
    Due,
    Evict,
    Extend,
    Fail,
    Handle,
    Handled,
    HandlerGone,
    Release,
    Remove,
    Replace,
    ReportProgress,
    Retry,
    RunnerGone,
    RunNow,
    TakeBack,
    WriteLog,
)
from packhorse_broker.jobs.machine import TABLE, decide
from packhorse_broker.jobs.model import Progress, Refusal, RefusalCode, State
from tests.jobs.examples import JOBS, NOW, OLD, RULES, TOKEN, told

COMMANDS: Final[dict[str, Command]] = {
    "create same": Create("job", "mail", b"body", "maker", fingerprint=b"content"),
    "create other": Create("job", "mail", b"body", "maker", fingerprint=b"other"),
    "create unnamed": Create("job", "mail", b"body", "maker"),
    "create later": Create("job", "mail", b"", "maker", fingerprint=b"content", delay_ms=1),
    "replace": Replace(Create("other", "mail", b"new", "maker")),
    "replace later": Replace(Create("other", "mail", b"new", "maker", delay_ms=1)),
    "claim": Claim("other", b"nonce--3"),
    "release": Release("runner", TOKEN),
    "release old": Release("runner", OLD),
    "release other": Release("other", TOKEN),
    "take back": TakeBack("runner", TOKEN),
    "take back old": TakeBack("runner", OLD),
    "progress": ReportProgress("runner", TOKEN, Progress(50, "half")),
    "progress old": ReportProgress("runner", OLD, Progress(50, "half")),
    "progress other": ReportProgress("other", TOKEN, Progress(50, "half")),
    "log": WriteLog("runner", TOKEN, ("line",)),
    "log old": WriteLog("runner", OLD, ("line",)),
    "log other": WriteLog("other", TOKEN, ("line",)),
    "extend": Extend("runner", TOKEN, 1_000),
    "extend old": Extend("runner", OLD, 1_000),
    "extend other": Extend("other", TOKEN, 1_000),
    "complete": Complete("runner", TOKEN, b"result"),
    "complete old": Complete("runner", OLD, b"result"),
    "complete other": Complete("other", TOKEN, b"result"),
    "fail": Fail("runner", TOKEN, b"error"),
    "fail later": Fail("runner", TOKEN, b"error", retry_in_ms=1),
    "fail old": Fail("runner", OLD, b"error"),
    "fail other": Fail("other", TOKEN, b"error"),
    "fail for good": Fail("runner", TOKEN, b"error", retry=False),
    "runner gone": RunnerGone("runner"),
    "other gone": RunnerGone("other"),
    "handle": Handle("second"),
    "handle again": Handle("handler"),
    "handle group": Handle("handler", "group"),
    "handled": Handled("handler"),
    "handled other": Handled("second"),
    "handled group": Handled("handler", "group"),
    "handler gone": HandlerGone("handler"),
    "nobody gone": HandlerGone("second"),
    "due": Due(),
    "evict": Evict(),
    "cancel": Cancel("boss", 1_000),
    "cancel late": Cancel("boss", 30_000),
    "retry": Retry("boss"),
    "run now": RunNow("boss"),
    "remove": Remove("boss"),
    "remove queued": Remove("boss", "", (State.QUEUED,)),
}

OUTCOMES: Final = """
                none      delayed   due       backing   new       idle      returned  retried   lost      held      ceasing   overrun   done      failed    dead      stopped   kept
create same     QUEUED    same      same      same      same      same      same      same      same      same      same      same      same      same      same      same      same
create other    QUEUED    clash     clash     clash     clash     clash     clash     clash     clash     clash     clash     clash     clash     clash     clash     clash     clash
create unnamed  QUEUED    clash     clash     clash     clash     clash     clash     clash     clash     clash     clash     clash     clash     clash     clash     clash     clash
create later    PENDING   same      same      same      same      same      same      same      same      same      same      same      same      same      same      same      same
replace         absent    QUEUED    QUEUED    wrong     QUEUED    QUEUED    wrong     wrong     wrong     wrong     wrong     wrong     wrong     wrong     wrong     wrong     wrong
replace later   absent    PENDING   PENDING   wrong     PENDING   PENDING   wrong     wrong     wrong     wrong     wrong     wrong     wrong     wrong     wrong     wrong     wrong
claim           absent    wrong     wrong     wrong     STARTED   STARTED   STARTED   STARTED   STARTED   wrong     wrong     wrong     wrong     wrong     wrong     wrong     wrong
release         absent    stale     stale     stale     stale     stale     same      stale     stale     QUEUED    FAILED    QUEUED    stale     stale     stale     stale     stale
release old     absent    stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale
release other   absent    stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale
take back       absent    stale     stale     stale     stale     stale     stale     stale     stale     QUEUED    FAILED    QUEUED    stale     stale     stale     stale     stale
take back old   absent    stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale
progress        absent    stale     stale     stale     stale     stale     stale     stale     stale     STARTED   STARTED   STARTED   stale     stale     stale     stale     stale
progress old    absent    stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale
progress other  absent    stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale
log             absent    stale     stale     stale     stale     stale     stale     stale     stale     STARTED   STARTED   STARTED   stale     stale     stale     stale     stale
log old         absent    stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale
log other       absent    stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale
extend          absent    stale     stale     stale     stale     stale     stale     stale     stale     same      same      STARTED   stale     stale     stale     stale     stale
extend old      absent    stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale
extend other    absent    stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale
complete        absent    stale     stale     stale     stale     stale     stale     stale     stale     COMPLETE  COMPLETE  COMPLETE  same      stale     stale     stale     stale
complete old    absent    stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale
complete other  absent    stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale
fail            absent    stale     stale     same      stale     stale     stale     same      stale     QUEUED    FAILED    QUEUED    stale     same      stale     stale     same
fail later      absent    stale     stale     same      stale     stale     stale     same      stale     PENDING   FAILED    PENDING   stale     same      stale     stale     same
fail old        absent    stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale
fail other      absent    stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale     stale
fail for good   absent    stale     stale     same      stale     stale     stale     same      stale     FAILED    FAILED    FAILED    stale     same      stale     stale     same
runner gone     absent    wrong     wrong     wrong     wrong     wrong     wrong     wrong     wrong     QUEUED    FAILED    QUEUED    wrong     wrong     wrong     wrong     wrong
other gone      absent    wrong     wrong     wrong     wrong     wrong     wrong     wrong     wrong     same      same      same      wrong     wrong     wrong     wrong     wrong
handle          absent    PENDING   PENDING   PENDING   QUEUED    QUEUED    QUEUED    QUEUED    QUEUED    STARTED   STARTED   STARTED   COMPLETE  FAILED    FAILED    FAILED    FAILED
handle again    absent    same      same      same      same      same      same      same      same      same      same      same      same      same      same      same      FAILED
handle group    absent    PENDING   PENDING   PENDING   QUEUED    QUEUED    QUEUED    QUEUED    QUEUED    STARTED   STARTED   STARTED   COMPLETE  FAILED    FAILED    FAILED    FAILED
handled         absent    wrong     wrong     wrong     wrong     wrong     wrong     wrong     wrong     wrong     wrong     wrong     gone      gone      gone      gone      nobody
handled other   absent    wrong     wrong     wrong     wrong     wrong     wrong     wrong     wrong     wrong     wrong     wrong     nobody    nobody    nobody    nobody    nobody
handled group   absent    wrong     wrong     wrong     wrong     wrong     wrong     wrong     wrong     wrong     wrong     wrong     nobody    nobody    nobody    nobody    nobody
handler gone    absent    PENDING   PENDING   PENDING   QUEUED    QUEUED    QUEUED    QUEUED    QUEUED    STARTED   STARTED   STARTED   gone      FAILED    FAILED    FAILED    same
nobody gone     absent    same      same      same      same      same      same      same      same      same      same      same      same      same      same      same      same
due             absent    same      QUEUED    same      same      FAILED    same      same      same      same      same      QUEUED    same      same      same      same      gone
evict           absent    same      same      same      same      same      same      same      same      same      same      same      same      same      same      same      gone
cancel          absent    FAILED    FAILED    FAILED    FAILED    FAILED    FAILED    FAILED    FAILED    STARTED   STARTED   STARTED   wrong     wrong     wrong     same      wrong
cancel late     absent    FAILED    FAILED    FAILED    FAILED    FAILED    FAILED    FAILED    FAILED    STARTED   same      STARTED   wrong     wrong     wrong     same      wrong
retry           absent    wrong     wrong     wrong     wrong     wrong     wrong     wrong     wrong     wrong     wrong     wrong     wrong     QUEUED    QUEUED    QUEUED    QUEUED
run now         absent    QUEUED    QUEUED    QUEUED    wrong     wrong     wrong     wrong     wrong     wrong     wrong     wrong     wrong     wrong     wrong     wrong     wrong
remove          absent    gone      gone      gone      gone      gone      gone      gone      gone      gone      gone      gone      gone      gone      gone      gone      gone
remove queued   absent    wrong     wrong     wrong     gone      gone      gone      gone      gone      wrong     wrong     wrong     wrong     wrong     wrong     wrong     wrong
"""  # noqa: E501 - a table reads as a table
"""What each command makes of each job: a state it is in afterwards, one version on; `same`, a
repetition that changes nothing; `gone`; or a refusal, see `REFUSALS`."""

REFUSALS: Final = {
    "absent": RefusalCode.NOT_FOUND,
    "clash": RefusalCode.CONFLICT,
    "stale": RefusalCode.STALE_CLAIM,
    "wrong": RefusalCode.WRONG_STATE,
    "nobody": RefusalCode.NOT_HANDLER,
}
"""Short words for the codes of refusals."""


def _cells() -> list[tuple[str, str, str]]:
    header, *rows = OUTCOMES.strip("\n").splitlines()
    columns = header.split()
    cells: list[tuple[str, str, str]] = []
    for row in rows:
        command, outcomes = row[:16].strip(), row[16:].split()
        cells += [(command, job, cell) for job, cell in zip(columns, outcomes, strict=True)]
    return cells


def test_table_has_every_command_and_every_state() -> None:
    rows = {(command, job) for command, job, _ in _cells()}
    assert rows == set(product(COMMANDS, JOBS))
    assert {type(command) for command in COMMANDS.values()} == set(get_args(Command))
    assert {job.state for job in JOBS.values() if job is not None} == set(State)


def test_transitions_have_a_test_each() -> None:
    """What is not in the machine's table is refused; what is in it stands in the table here."""
    tried = {
        (job.state if job is not None else None, type(command))
        for job in JOBS.values()
        for command in COMMANDS.values()
    }
    assert tried >= set(TABLE)


@pytest.mark.parametrize(("command", "job", "cell"), _cells())
def test_outcome(command: str, job: str, cell: str) -> None:
    before, asked = JOBS[job], COMMANDS[command]
    untouched = copy.deepcopy((before, asked))

    decision = decide(before, asked, NOW, RULES)

    assert told(decision) == REFUSALS.get(cell, cell)
    assert (before, asked) == untouched
    assert decide(before, asked, NOW, RULES) == decision
    if isinstance(decision, Refusal):
        assert decision.message
        if decision.code is not RefusalCode.STALE_CLAIM:
            assert decision.state is (before.state if before is not None else None)
        return
    assert decision.before is before
    assert decision.changed is (cell != "same")
    if cell == "same":
        assert decision.job is before
        assert decision.entries == ()
    else:
        assert decision.job.version == (before.version if before is not None else 0) + 1
