"""The state machine: one table keyed by state and command.

    decide(job, command, now, rules) -> Applied | Refusal

Two rules hold for every transition: it returns new records and never changes one, and it depends
on nothing but its arguments. A pair that the table lacks is a refusal. `job` is None where there
is no such job.
"""

from collections.abc import Callable
from typing import Final

from packhorse_broker.jobs.attempts import fail, lose, release, run_over, take_back
from packhorse_broker.jobs.byhand import (
    cancel_again,
    cancel_running,
    cancel_waiting,
    remove,
    retry,
    run_now,
    wrong_state,
)
from packhorse_broker.jobs.claims import (
    claim,
    complete,
    extend,
    repeat_of,
    report_progress,
    too_late,
    write_log,
)
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
from packhorse_broker.jobs.creation import create, create_again, replace_content
from packhorse_broker.jobs.endings import evict, retention_over, stays
from packhorse_broker.jobs.handlers import handle, handled, leave
from packhorse_broker.jobs.model import (
    Decision,
    End,
    Job,
    Now,
    Refusal,
    RefusalCode,
    Rules,
    State,
)
from packhorse_broker.jobs.waiting import delay_over, wait_over

PENDING, QUEUED, STARTED = State.PENDING, State.QUEUED, State.STARTED
COMPLETE, FAILED = State.COMPLETE, State.FAILED

Transition = Callable[..., Decision]
"""(job, command, now, rules) -> what becomes of the job. The table names the command's type, and
that `job` is None only in the rows without a state."""


def decide(job: Job | None, command: Command, now: Now, rules: Rules) -> Decision:
    """What `command` makes of `job` at `now`; changes nothing itself."""
    transition = TABLE.get((job.state if job is not None else None, type(command)))
    if transition is not None:
        return transition(job, command, now, rules)
    if job is None:
        return Refusal(RefusalCode.NOT_FOUND, "there is no such job")
    return wrong_state(job)


TABLE: Final[dict[tuple[State | None, type[Command]], Transition]] = {
    # Into being, and out of it.
    (None, Create): create,
    (PENDING, Create): create_again,
    (QUEUED, Create): create_again,
    (STARTED, Create): create_again,
    (COMPLETE, Create): create_again,
    (FAILED, Create): create_again,
    (PENDING, Replace): replace_content,
    (QUEUED, Replace): replace_content,
    (STARTED, Replace): replace_content,
    (COMPLETE, Replace): replace_content,
    (FAILED, Replace): replace_content,
    (PENDING, Evict): stays,
    (QUEUED, Evict): stays,
    (STARTED, Evict): stays,
    (COMPLETE, Evict): evict,
    (FAILED, Evict): evict,
    # Time.
    (PENDING, Due): delay_over,
    (QUEUED, Due): wait_over,
    (STARTED, Due): run_over,
    (COMPLETE, Due): retention_over,
    (FAILED, Due): retention_over,
    # The runner.
    (QUEUED, Claim): claim,
    (STARTED, RunnerGone): lose,
    (PENDING, ReportProgress): too_late,
    (QUEUED, ReportProgress): too_late,
    (STARTED, ReportProgress): report_progress,
    (COMPLETE, ReportProgress): too_late,
    (FAILED, ReportProgress): too_late,
    (PENDING, WriteLog): too_late,
    (QUEUED, WriteLog): too_late,
    (STARTED, WriteLog): write_log,
    (COMPLETE, WriteLog): too_late,
    (FAILED, WriteLog): too_late,
    (PENDING, Extend): too_late,
    (QUEUED, Extend): too_late,
    (STARTED, Extend): extend,
    (COMPLETE, Extend): too_late,
    (FAILED, Extend): too_late,
    (PENDING, Complete): too_late,
    (QUEUED, Complete): too_late,
    (STARTED, Complete): complete,
    (COMPLETE, Complete): repeat_of(End.COMPLETED),
    (FAILED, Complete): too_late,
    (PENDING, Fail): repeat_of(End.FAILED),
    (QUEUED, Fail): repeat_of(End.FAILED),
    (STARTED, Fail): fail,
    (COMPLETE, Fail): too_late,
    (FAILED, Fail): repeat_of(End.FAILED),
    (PENDING, Release): too_late,
    (QUEUED, Release): repeat_of(End.RELEASED),
    (STARTED, Release): release,
    (COMPLETE, Release): too_late,
    (FAILED, Release): repeat_of(End.RELEASED),
    (PENDING, TakeBack): too_late,
    (QUEUED, TakeBack): too_late,
    (STARTED, TakeBack): take_back,
    (COMPLETE, TakeBack): too_late,
    (FAILED, TakeBack): too_late,
    # The handlers.
    (PENDING, Handle): handle,
    (QUEUED, Handle): handle,
    (STARTED, Handle): handle,
    (COMPLETE, Handle): handle,
    (FAILED, Handle): handle,
    (COMPLETE, Handled): handled,
    (FAILED, Handled): handled,
    (PENDING, HandlerGone): leave,
    (QUEUED, HandlerGone): leave,
    (STARTED, HandlerGone): leave,
    (COMPLETE, HandlerGone): leave,
    (FAILED, HandlerGone): leave,
    # By hand.
    (PENDING, Cancel): cancel_waiting,
    (QUEUED, Cancel): cancel_waiting,
    (STARTED, Cancel): cancel_running,
    (FAILED, Cancel): cancel_again,
    (FAILED, Retry): retry,
    (PENDING, RunNow): run_now,
    (PENDING, Remove): remove,
    (QUEUED, Remove): remove,
    (STARTED, Remove): remove,
    (COMPLETE, Remove): remove,
    (FAILED, Remove): remove,
}
