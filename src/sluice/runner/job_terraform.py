"""Runs terraform's commands for a phase, and says in one sentence why one failed."""

import signal
from collections.abc import Mapping
from pathlib import Path

from sluice.runner.capture import Capture, Command, Ended
from sluice.runner.first_error import FirstError
from sluice.runner.phase_error import PhaseError, canceled
from sluice.wire.agent import Engine

_NAMES = {Engine.TERRAFORM: "terraform", Engine.OPENTOFU: "tofu"}


class Terraform:
    """The program with its directory and environment.

    Args:
        binary: path of the program.
        engine: what to call it.
        directory: where it runs.
        environment: its whole environment.
        capture: takes its output.
    """

    def __init__(
        self,
        binary: str,
        *,
        engine: Engine,
        directory: Path,
        environment: Mapping[str, str],
        capture: Capture,
    ) -> None:
        self._binary = binary
        self._name = _NAMES[engine]
        self._directory = directory
        self._environment = environment
        self._capture = capture

    def run(
        self,
        arguments: list[str],
        *,
        succeeds_with: frozenset[int] = frozenset({0}),
        stdout_file: Path | None = None,
    ) -> int:
        """Run one command to its end; returns its exit code.

        Raises:
            PhaseError: it could not be started, failed, or was cancelled.
        """
        command = Command(
            [self._binary, *arguments], self._directory, self._environment, stdout_file
        )
        errors = FirstError()
        called = f"{self._name} {arguments[0]}"
        try:
            ended = self._capture.run(command, on_stderr=errors.feed)
        except OSError as error:
            raise PhaseError(
                f"{called} could not be started: {self._binary}: {error.strerror}."
            ) from error
        if ended.code in succeeds_with:
            return ended.code
        raise self._failure(called, ended, errors.finish())

    def _failure(self, called: str, ended: Ended, error: str) -> PhaseError:
        if ended.canceled:
            request = self._capture.surroundings.cancel_request()
            return canceled(request.reason if request else "", exit_code=ended.code)
        if ended.code < 0:
            name = signal.Signals(-ended.code).name
            return PhaseError(
                f"{called} was killed by {name}, not by Sluice; look at the memory and"
                " the system log of the agent's machine.",
                exit_code=ended.code,
            )
        why = f": {error}" if error else ""
        return PhaseError(
            f"{called} failed with exit code {ended.code}{why}", exit_code=ended.code
        )
