"""The state machine as a table: what each command makes of a job in each state."""

import copy
from itertools import product
from typing import Final, get_args

import pytest

from packhorse_broker.jobs.commands import (
    Claim,
    Command,
    Complete,
    Create,
    Expire,
    Fail,
    Handle,
    Handled,
    HandlerGone,
    Release,
    Remove,
    ReportProgress,
    RunnerGone,
    TakeBack,
    WriteLog,
)
from packhorse_broker.jobs.machine import decide
from packhorse_broker.jobs.model import Progress, Refusal, RefusalCode, State
from tests.jobs.examples import JOBS, NOW, OLD, RULES, TOKEN, told

COMMANDS: Final[dict[str, Command]] = {
    "create same": Create("job", "mail", b"body", "maker", fingerprint=b"content"),
    "create other": Create("job", "mail", b"body", "maker", fingerprint=b"other"),
    "create unnamed": Create("job", "mail", b"body", "maker"),
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
    "complete": Complete("runner", TOKEN, b"result"),
    "complete old": Complete("runner", OLD, b"result"),
    "complete other": Complete("other", TOKEN, b"result"),
    "fail": Fail("runner", TOKEN, b"error"),
    "fail old": Fail("runner", OLD, b"error"),
    "fail other": Fail("other", TOKEN, b"error"),
    "fail for good": Fail("runner", TOKEN, b"error", retry=False),
    "runner gone": RunnerGone("runner"),
    "other gone": RunnerGone("other"),
    "handle": Handle("second"),
    "handle again": Handle("handler"),
    "handled": Handled("handler"),
    "handled other": Handled("second"),
    "handler gone": HandlerGone("handler"),
    "nobody gone": HandlerGone("second"),
    "remove": Remove(),
    "expire": Expire(),
}

OUTCOMES: Final = """
                none       new          returned     retried      lost         held         done         failed       dead         kept
create same     QUEUED     same         same         same         same         same         same         same         same         same
create other    QUEUED     conflict     conflict     conflict     conflict     conflict     conflict     conflict     conflict     conflict
create unnamed  QUEUED     conflict     conflict     conflict     conflict     conflict     conflict     conflict     conflict     conflict
claim           not_found  STARTED      STARTED      STARTED      STARTED      wrong_state  wrong_state  wrong_state  wrong_state  wrong_state
release         not_found  stale_claim  same         stale_claim  stale_claim  QUEUED       stale_claim  stale_claim  stale_claim  stale_claim
release old     not_found  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim
take back       not_found  stale_claim  stale_claim  stale_claim  stale_claim  QUEUED       stale_claim  stale_claim  stale_claim  stale_claim
take back old   not_found  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim
release other   not_found  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim
progress        not_found  stale_claim  stale_claim  stale_claim  stale_claim  STARTED      stale_claim  stale_claim  stale_claim  stale_claim
progress old    not_found  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim
progress other  not_found  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim
log             not_found  stale_claim  stale_claim  stale_claim  stale_claim  STARTED      stale_claim  stale_claim  stale_claim  stale_claim
log old         not_found  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim
log other       not_found  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim
complete        not_found  stale_claim  stale_claim  stale_claim  stale_claim  COMPLETE     same         stale_claim  stale_claim  stale_claim
complete old    not_found  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim
complete other  not_found  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim
fail            not_found  stale_claim  stale_claim  same         stale_claim  QUEUED       stale_claim  same         stale_claim  same
fail old        not_found  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim
fail other      not_found  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim
fail for good   not_found  stale_claim  stale_claim  same         stale_claim  FAILED       stale_claim  same         stale_claim  same
runner gone     not_found  wrong_state  wrong_state  wrong_state  wrong_state  QUEUED       wrong_state  wrong_state  wrong_state  wrong_state
other gone      not_found  wrong_state  wrong_state  wrong_state  wrong_state  same         wrong_state  wrong_state  wrong_state  wrong_state
handle          not_found  QUEUED       QUEUED       QUEUED       QUEUED       STARTED      COMPLETE     FAILED       FAILED       FAILED
handle again    not_found  same         same         same         same         same         same         same         same         FAILED
handled         not_found  wrong_state  wrong_state  wrong_state  wrong_state  wrong_state  gone         gone         gone         not_handler
handled other   not_found  wrong_state  wrong_state  wrong_state  wrong_state  wrong_state  not_handler  not_handler  not_handler  not_handler
handler gone    not_found  QUEUED       QUEUED       QUEUED       QUEUED       STARTED      gone         FAILED       FAILED       same
nobody gone     not_found  same         same         same         same         same         same         same         same         same
remove          not_found  gone         gone         gone         gone         gone         gone         gone         gone         gone
expire          not_found  wrong_state  wrong_state  wrong_state  wrong_state  wrong_state  wrong_state  same         same         gone
"""  # noqa: E501 - a table reads as a table
"""What each command makes of each job: a state it is in afterwards, one version on; `same`, a
repetition that changes nothing; `gone`; or the code of a refusal."""


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


@pytest.mark.parametrize(("command", "job", "cell"), _cells())
def test_outcome(command: str, job: str, cell: str) -> None:
    before, asked = JOBS[job], COMMANDS[command]
    untouched = copy.deepcopy((before, asked))

    decision = decide(before, asked, NOW, RULES)

    assert told(decision) == cell
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
