"""What `sluice exec` and the server say to each other before and after the log (spec/5)."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from sluice.wire.agent import LogPosition, Message, Report

TaskName = Annotated[
    str, Field(min_length=1, max_length=90, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
]


class Writer(StrEnum):
    """Who writes the task's log: the script's own runner by upload, or the server from
    records that are posted one by one.
    """

    UPLOAD = "upload"
    RECORDS = "records"


class ExecRequest(Report):
    """A script runs, or is about to, outside any agent; sending it again changes nothing.

    ``run_id`` is the caller's own random name of this run: the same one is the same run
    again, another one is refused while the first holds the task. ``host`` says where it
    runs, for people.
    """

    run_id: TaskName
    name: str = Field(default="", max_length=500)
    script_path: str = Field(default="", max_length=4096)
    process_id: int = Field(default=0, ge=0, lt=2**31)
    floor: str = Field(default="", max_length=10)
    host: str = Field(default="", max_length=255)
    writer: Writer = Writer.UPLOAD
    version: str = Field(default="", max_length=200)


class ExecResponse(Message):
    """The lease of the run. ``agent_id`` stands for the run in the URLs of agents."""

    task_id: str
    agent_id: str
    lease_id: str
    lease_seconds: float
    task_token: str = Field(repr=False)
    log: LogPosition


class ExecEnd(Report):
    """A run whose log the server writes has ended."""

    lease_id: str
    exit_code: int = Field(ge=-(2**31), lt=2**31)
    error: str = Field(default="", max_length=2000)
