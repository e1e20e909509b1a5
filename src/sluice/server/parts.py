"""The parts everything else stands on: database, blobs, keys, wake-ups, metrics."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

import structlog
from prometheus_client import CollectorRegistry
from sqlalchemy import text

from sluice.auth.audit_store import SqlAuditLog
from sluice.auth.jwt import TokenIssuer
from sluice.auth.keyring import KeyRing
from sluice.auth.session_cookies import session_keys
from sluice.base.clock import Clock, SystemClock
from sluice.base.errors import InvalidInputError, UnavailableError
from sluice.blobs.store import Blobs, S3Settings, open_local_blobs, open_s3_blobs
from sluice.db.engine import Database, connection_of, open_database
from sluice.db.migrate import require_current, upgrade_database
from sluice.edge.metrics import new_registry
from sluice.edge.outgoing import Outgoing
from sluice.edge.rate_counters import open_counters
from sluice.edge.rate_limits import RateLimits, Rates
from sluice.events.hub import Hub
from sluice.server.keys import KEY_FILE, master_keys
from sluice.server.settings import ServerSettings

SCRATCH = "scratch"
_logger = structlog.get_logger(__name__)


class Relay(Protocol):
    """Carries wake-ups to other server processes (`events.redis.RedisRelay`)."""

    async def run(self) -> None:
        """Carry until cancelled."""
        ...

    async def check(self) -> None:
        """Raise UnavailableError while nothing is carried."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What concepts are built from; ``relay`` only where Redis is set."""

    settings: ServerSettings
    clock: Clock
    database: Database
    blobs: Blobs
    keyring: KeyRing
    issuer: TokenIssuer
    hub: Hub
    relay: Relay | None
    registry: CollectorRegistry
    outgoing: Outgoing
    session_keys: tuple[bytes, ...]
    rates: RateLimits

    @property
    def scratch(self) -> Path:
        """Where files in the making lie."""
        return self.settings.data_dir / SCRATCH

    async def check_database(self) -> None:
        """Raise UnavailableError while the database does not answer."""
        try:
            async with self.database.read() as tx:
                await connection_of(tx).execute(text("SELECT 1"))
        except Exception as error:
            _logger.warning("the database does not answer", reason=str(error))
            raise UnavailableError("The database does not answer.") from error

    async def close(self) -> None:
        """Close what holds connections."""
        await self.rates.close()
        await self.outgoing.close()
        await self.database.close()


def open_parts(settings: ServerSettings, *, clock: Clock | None = None) -> Parts:
    """Open everything that the settings name; nothing is sent anywhere yet.

    Raises:
        SluiceError: a setting cannot be used.
    """
    _make_directory(settings.data_dir)
    _make_directory(settings.data_dir / SCRATCH)
    clock = clock or SystemClock()
    masters = master_keys(settings)
    url = settings.resolved_database_url
    if url.startswith("postgresql") and not settings.encryption_key.get_secret_value():
        _logger.warning(
            "the key file protects secrets; other servers on this database need the same",
            path=str(settings.data_dir / KEY_FILE),
        )
    hub = Hub()
    registry = new_registry()
    return Parts(
        settings=settings,
        clock=clock,
        database=_open_database(url, settings.database_pool_size),
        blobs=_open_blobs(settings),
        keyring=KeyRing(masters),
        issuer=TokenIssuer(masters, clock),
        hub=hub,
        relay=_open_relay(hub, settings.redis_url),
        registry=registry,
        outgoing=Outgoing(
            allowed_cidrs=settings.outgoing_allowed_cidrs,
            allow_http=settings.outgoing_allow_http,
            connections=settings.run_task_calls_at_once
            + settings.notifications_at_once,
        ),
        session_keys=session_keys(masters),
        rates=_rate_limits(settings, registry, clock),
    )


async def prepare_database(parts: Parts) -> None:
    """Upgrade the database where the settings say so, else demand that it is current.

    What servers of older versions wrote into the audit log is put into its chain.

    Raises:
        SchemaBehindError: `sluice db upgrade` has to run first.
        DatabaseUnusableError: it cannot be reached, or refuses.
    """
    if parts.settings.migrates_itself:
        done = await upgrade_database(parts.database)
        if done:
            _logger.info("database upgraded", migrations=done)
    else:
        await require_current(parts.database)
    async with parts.database.write() as tx:
        older = await SqlAuditLog().take_in_older(tx)
    if older:
        _logger.warning("older audit entries were put into the chain", entries=older)


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise InvalidInputError(
            f"The directory {path} cannot be made ({error.strerror}); "
            "set SLUICE_DATA_DIR to a place where it can."
        ) from None


def _open_database(url: str, pool_size: int) -> Database:
    try:
        return open_database(url, pool_size=pool_size)
    except ModuleNotFoundError as error:
        raise InvalidInputError(
            f"The database needs a package that is not installed ({error.name}); "
            "run: pip install 'sluice[postgres]'"
        ) from None


def _open_relay(hub: Hub, url: str) -> Relay | None:
    if not url:
        return None
    try:
        from sluice.events.redis import RedisRelay
    except ModuleNotFoundError as error:
        raise InvalidInputError(
            f"Redis needs a package that is not installed ({error.name}); "
            "run: pip install 'sluice[redis]'"
        ) from None
    return RedisRelay(hub, url)


def _rate_limits(
    settings: ServerSettings, registry: CollectorRegistry, clock: Clock
) -> RateLimits:
    rates = Rates(
        address=settings.requests_per_minute_per_address,
        failures=settings.failed_credentials_per_minute_per_address,
        credential=settings.requests_per_minute_per_credential,
        organization=settings.requests_per_minute_per_organization,
    )
    counters = open_counters(settings.redis_url, clock)
    return RateLimits(rates, counters, registry, clock)


def _open_blobs(settings: ServerSettings) -> Blobs:
    parts = urlsplit(settings.blob_url)
    if parts.scheme != "s3":
        path = unquote(parts.path) if parts.path else settings.data_dir / "blobs"
        return open_local_blobs(Path(path))
    return open_s3_blobs(
        S3Settings(
            bucket=parts.netloc,
            prefix=parts.path.strip("/"),
            endpoint=settings.s3_endpoint,
            region=settings.s3_region,
            access_key_id=settings.s3_access_key_id,
            secret_access_key=settings.s3_secret_access_key.get_secret_value(),
            virtual_hosted=settings.s3_virtual_hosted,
            allow_http=settings.s3_allow_http,
        )
    )
