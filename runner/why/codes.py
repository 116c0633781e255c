"""The codes of reasons: stable, for programs and runbooks."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class ReasonCode(StrEnum):
    """Why an execution is where it is. ``meaning``: what the code says, in a few words."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> Self:
        code = str.__new__(cls, value)
        code._value_ = value
        code.meaning = meaning
        return code

    # It is over.
    ENDED = "ended", "it has ended; how, and who ended it"
    NOT_UNDONE = "not_undone", "it has ended, and something that it wanted undone is not"

    # A worker has it.
    RUNNING = "running", "a worker has it"
    STEP_RUNNING = "step_running", "a step's attempt runs for some seconds already, or has told how far it is"
    STEP_OVER_TIME = "step_over_time", "a step's attempt runs longer than its time-out"
    WORKER_SILENT = "worker_silent", "its worker was not heard of; another one gets it when the lease runs out"
    LEASE_OVERDUE = "lease_overdue", "its lease has run out, and no scheduler has taken it away"

    # It is ready.
    READY = "ready", "its hint is on its way to a worker"
    BACKLOG = "backlog", "others wait before it in its queue"
    SLOTS_TAKEN = "slots_taken", "all slots of the workers that could take it are taken"
    NO_WORKER = "no_worker", "no worker is alive"
    NO_WORKER_FOR_QUEUE = "no_worker_for_queue", "no live worker listens to its queue"
    UNKNOWN_WORKFLOW = "unknown_workflow", "no live worker of its queue knows its workflow"
    UNKNOWN_VERSION = "unknown_version", "live workers of its queue know its workflow, but not its version"
    PASSED_OVER = "passed_over", "a worker could not take it; it is offered again"
    HISTORY_MISMATCH = "history_mismatch", "the workers' code does not replay what is recorded"
    PAYLOAD_UNREADABLE = "payload_unreadable", "the workers cannot read a payload of it"
    TURN_BROKEN = "turn_broken", "a worker gave it up over an error that is not the workflow's"
    SUSPECT = "suspect", "workers were lost with it in a row: it waits for a process without another such one"
    HINT_LOST = "hint_lost", "it is ready for long, and its queue at the broker is empty"

    # It waits.
    DELAYED = "delayed", "it begins at its time"
    SLEEPING = "sleeping", "a sleep"
    WAITING_SIGNAL = "waiting_signal", "a signal"
    WAITING_CHILD = "waiting_child", "the end of a child"
    WAITING_EXECUTION = "waiting_execution", "the end of another execution"
    END_ON_ITS_WAY = "end_on_its_way", "what it waits for has ended, and that is on its way to it"
    EXECUTION_UNKNOWN = "execution_unknown", "what it waits for is not there"
    STEP_RETRY = "step_retry", "a step failed and pauses before its next attempt"
    RETRYING = "retrying", "it failed and pauses before its next attempt"
    MORE_WAITS = "more_waits", "there are more waits than are listed"
    TIMER_OVERDUE = "timer_overdue", "its time has come, and no scheduler has woken it"
    TIMER_MISSING = "timer_missing", "its time is recorded, and no timer would wake it then: the store has lost that"
    NO_WAKE_SOURCE = "no_wake_source", "nothing will wake it: a defect, or a store that has lost something"

    RECORD_UNREADABLE = "record_unreadable", "what the store holds of it cannot be read"

    # About what it waits for.
    SIMILAR_SIGNAL = "similar_signal", "a signal of nearly that name has arrived"
    UNREAD_SIGNAL = "unread_signal", "a signal has arrived that nothing has read"
    UNDECLARED_SIGNAL = "undeclared_signal", "it waits for a signal that its workflow does not declare"

    # About the execution.
    CANCELLING = "cancelling", "its end was asked for"
    COMPENSATING = "compensating", "it undoes what it did"
    DEADLINE = "deadline", "it is ended when its own deadline passes"
    CRASHES = "crashes", "workers were lost with it"
    JOURNAL_LARGE = "journal_large", "its run has recorded nearly as much as it may"
    SCHEDULED = "scheduled", "a schedule started it"
    STARTED_BY = "started_by", "another execution started it"

    # About what is around it.
    NO_SCHEDULER = "no_scheduler", "no scheduler leads: nothing that takes time happens"
    OUTBOX_OVERDUE = "outbox_overdue", "something that it caused elsewhere may not have been delivered"
    BROKER_UNREACHABLE = "broker_unreachable", "the broker does not answer"
    STORE_SLOW = "store_slow", "the store takes long to answer"
    NOT_ASKED = "not_asked", "something could not be asked, so that reasons may be missing"
