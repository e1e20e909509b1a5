"""What all phases of one agent share: the server, the settings as they use them, the folders."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from sluice.base.clock import Clock
from sluice.base.errors import InvalidInputError
from sluice.client.agent_api import AgentApi, tls_of
from sluice.runner.job_spec import JobLimits, JobSpec
from sluice.runner.register import Session
from sluice.runner.settings import AgentSettings, terraform_environment
from sluice.runner.status import StatusNode, StatusTree
from sluice.terraform.install import Installer
from sluice.terraform.products import Product, opentofu, terraform
from sluice.wire.agent import Engine, PhaseOrder
from sluice.wire.log_flow import StreamMode


@dataclass(frozen=True, slots=True)
class Folders:
    """The agent's data directory."""

    data: Path

    @property
    def phases(self) -> Path:
        """Phases that run or are to be reported."""
        return self.data / "phases"

    @property
    def fenced(self) -> Path:
        """Phases that the server no longer wants, kept for a while."""
        return self.data / "phases-fenced"

    @property
    def state_kept(self) -> Path:
        """States that the server would not take."""
        return self.data / "state-kept"

    @property
    def identity(self) -> Path:
        """The agent's id."""
        return self.data / "agent.json"

    @property
    def status(self) -> Path:
        """What each loop is doing."""
        return self.data / "status.json"

    @property
    def lock(self) -> Path:
        """Held by the agent while it runs."""
        return self.data / "agent.lock"

    def create(self) -> None:
        """Make the folders, for the owner's eyes only."""
        for folder in (self.data, self.phases, self.fenced, self.state_kept):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)


@dataclass(frozen=True, slots=True)
class FoundEngine:
    """Where the engine is and which version it has, or why there is none."""

    binary: str = ""
    problem: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Workplace:
    """Everything a phase's supervisor needs besides its order.

    ``ping_now`` has the server pinged, and so asked for orders, at once.
    """

    api: AgentApi
    session: Session
    downloads: httpx2.AsyncClient
    products: dict[str, Product]
    clock: Clock
    status: StatusTree
    folders: Folders
    cache: Path
    mode: StreamMode
    limits: JobLimits
    mask: list[str]
    ping_now: asyncio.Event
    ca_file: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    def installer(self, status: StatusNode) -> Installer:
        """Finds engines, and says how that goes."""
        return Installer(self.cache, self.downloads, self.products, say=status.say)

    def spec(self, order: PhaseOrder, engine: FoundEngine) -> JobSpec:
        """What the phase process is handed."""
        return JobSpec(
            order=order,
            server_url=self.api.url,
            binary=engine.binary,
            binary_problem=engine.problem,
            engine_version=engine.version,
            environment=self.environment,
            mask=self.mask,
            state_kept_dir=str(self.folders.state_kept),
            ca_file=self.ca_file,
            limits=self.limits,
        )


def products_of(settings: AgentSettings) -> dict[str, Product]:
    """The engines that can be downloaded, by the settings.

    Raises:
        InvalidInputError: a key file cannot be read.
    """
    return {
        Engine.TERRAFORM.value: terraform(
            settings.terraform_mirror_url, _key(settings.terraform_signing_key)
        ),
        Engine.OPENTOFU.value: opentofu(
            settings.opentofu_mirror_url,
            settings.opentofu_index_url,
            _key(settings.opentofu_signing_key),
        ),
    }


def limits_of(settings: AgentSettings) -> JobLimits:
    """The bounds of phase processes, by the settings."""
    return JobLimits(
        spool_bytes=settings.agent_spool_bytes,
        plan_grace=settings.agent_plan_grace_seconds,
        apply_grace=settings.agent_apply_grace_seconds,
        terminate_grace=settings.agent_terminate_grace_seconds,
    )


def environment_of(settings: AgentSettings) -> dict[str, str]:
    """Terraform's environment: the agent's own, with the plugin cache if there is one."""
    environment = terraform_environment()
    if settings.agent_plugin_cache_dir is not None:
        settings.agent_plugin_cache_dir.mkdir(parents=True, exist_ok=True)
        environment["TF_PLUGIN_CACHE_DIR"] = str(settings.agent_plugin_cache_dir)
    return environment


def download_client(settings: AgentSettings) -> httpx2.AsyncClient:
    """The client for engine downloads; makers redirect to where the files lie."""
    return httpx2.AsyncClient(
        follow_redirects=True,
        verify=tls_of(settings.agent_ca_file),
        timeout=httpx2.Timeout(60.0, connect=10.0),
    )


def _key(path: Path | None) -> bytes | None:
    try:
        return None if path is None else path.read_bytes()
    except OSError as error:
        raise InvalidInputError(
            f"The signing key {path} cannot be read ({error.strerror})."
        ) from None
