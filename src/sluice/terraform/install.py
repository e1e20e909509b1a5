"""Puts a fitting Terraform or OpenTofu on the machine: from the PATH, the cache, or a checked download.

Nothing is trusted before its time: the checksums must carry the makers' signature, the
archive must have the signed checksum, and only then does the program appear in the cache,
whole and under its final name.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx2

from sluice.base.errors import InvalidInputError, UnavailableError
from sluice.terraform.on_path import Installed, find_on_path
from sluice.terraform.products import Product
from sluice.terraform.signature import check_signature
from sluice.terraform.versions import (
    Constraint,
    Version,
    newest,
    parse_constraint,
    parse_version,
)

MAX_SMALL = 64 * 1024 * 1024
MAX_ARCHIVE = 512 * 1024 * 1024
MAX_PROGRAM = 1024 * 1024 * 1024
ATTEMPTS = 4
RETRY_SECONDS = 0.4
LOCK_POLL_SECONDS = 0.1
_SUM_LINE = re.compile(r"([0-9a-f]{64})\s+\*?(\S+)")

Say = Callable[[str], None]


class Installer:
    """Finds or fetches programs for one cache directory; safe beside other processes.

    Args:
        cache: where downloaded programs are kept, ``<cache>/terraform/1.11.4/terraform``.
        http: the client that downloads; it must follow redirects.
        products: what can be had, by the name of the engine.
        say: told in words what is being done, for the status tree.
    """

    def __init__(
        self,
        cache: Path,
        http: httpx2.AsyncClient,
        products: dict[str, Product],
        *,
        say: Say = lambda _words: None,
    ) -> None:
        self._cache = cache
        self._http = http
        self._products = products
        self._say = say

    async def ensure(self, engine: str, constraint_text: str) -> Path:
        """The path of what `resolve` finds; it raises the same."""
        return (await self.resolve(engine, constraint_text)).path

    async def resolve(self, engine: str, constraint_text: str) -> Installed:
        """A program of ``engine`` that the constraint allows, and its version.

        The program on the PATH comes first where it fits (so `latest` means that one,
        where there is one), then the newest release, then what the cache holds.

        Raises:
            InvalidInputError: the constraint or the engine is none.
            UnavailableError: there is no such program, or it failed a check.
        """
        product = self._products.get(engine)
        if product is None:
            known = ", ".join(sorted(self._products))
            raise InvalidInputError(
                f"There is no engine {engine!r}; take one of {known}."
            )
        constraint = parse_constraint(constraint_text)
        present = await find_on_path(product.program)
        if present is not None and constraint.allows(present.version):
            return present
        try:
            version = constraint.exact or await self._newest(product, constraint)
            path = await self._cached_or_download(product, version)
            return Installed(path, version)
        except UnavailableError as error:
            stored = newest(constraint, self._stored(product))
            if stored is not None and constraint.exact is None:
                return Installed(self._program(product, stored), stored)
            if present is None:
                raise
            raise UnavailableError(
                f"{error.detail} (The PATH has {product.title} {present.version}, which"
                f" {constraint.text!r} does not allow.)"
            ) from None

    async def _newest(self, product: Product, constraint: Constraint) -> Version:
        self._say(f"looking up the versions of {product.title}")
        body = await self._get(product.index_url, MAX_SMALL)
        version = newest(constraint, _versions_in(body, product.index_url))
        if version is None:
            raise UnavailableError(
                f"No release of {product.title} at {product.index_url} fits"
                f" {constraint.text!r}."
            )
        return version

    def _stored(self, product: Product) -> list[Version]:
        found: list[Version] = []
        for program in (self._cache / product.program).glob(f"*/{product.program}"):
            with contextlib.suppress(InvalidInputError):
                found.append(parse_version(program.parent.name))
        return found

    def _program(self, product: Product, version: Version) -> Path:
        folder = self._cache / product.program / str(version)
        return (folder / product.program).absolute()

    async def _cached_or_download(self, product: Product, version: Version) -> Path:
        program = self._program(product, version)
        if program.exists():
            return program
        home = program.parent.parent
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        async with _locked(home / f".{version}.lock"):
            if not program.exists():
                await self._download(product, str(version), program.parent)
        return program

    async def _download(self, product: Product, version: str, target: Path) -> None:
        self._say(f"downloading {product.title} {version}")
        archive, sums = product.archive(version), product.checksums(version)
        listed = await self._get(product.url(version, sums), MAX_SMALL)
        signature = await self._get(
            product.url(version, sums + product.signature_suffix), MAX_SMALL
        )
        await asyncio.to_thread(
            check_signature, listed, signature, armored_keys=product.key, name=sums
        )
        expected = _checksum_of(archive, listed)
        draft = target.with_name(f".{target.name}.{os.getpid()}.new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        try:
            packed = draft / archive
            digest = await self._fetch(product.url(version, archive), packed)
            if digest != expected:
                raise UnavailableError(
                    f"{archive} has the SHA-256 {digest}, its makers signed {expected};"
                    " nothing was installed. Check the mirror."
                )
            await asyncio.to_thread(_unpack, packed, draft, product.program)
            draft.rename(target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    async def _get(self, url: str, limit: int) -> bytes:
        body = bytearray()
        async for part in self._stream(url, limit, body.clear):
            body += part
        return bytes(body)

    async def _fetch(self, url: str, path: Path) -> str:
        """Download to a file; returns its SHA-256."""
        digest = hashlib.sha256()
        with path.open("wb") as file:

            def again() -> None:
                nonlocal digest
                digest = hashlib.sha256()
                file.seek(0)
                file.truncate()

            async for part in self._stream(url, MAX_ARCHIVE, again):
                digest.update(part)
                file.write(part)
        return digest.hexdigest()

    async def _stream(
        self, url: str, limit: int, again: Callable[[], None]
    ) -> AsyncIterator[bytes]:
        """The body of a URL; ``again`` is called before it starts over."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async for part in self._stream_once(url, limit):
                    yield part
                return
            except httpx2.HTTPError as error:
                if attempt == ATTEMPTS:
                    why = str(error) or type(error).__name__
                    raise UnavailableError(
                        f"{url} could not be downloaded ({why}); check the mirror"
                        " setting and the network of the agent."
                    ) from None
            again()
            await asyncio.sleep(RETRY_SECONDS * 2 ** (attempt - 1))

    async def _stream_once(self, url: str, limit: int) -> AsyncIterator[bytes]:
        got = 0
        plain = {"accept-encoding": "identity"}
        async with self._http.stream("GET", url, headers=plain) as response:
            if response.status_code >= 500:
                response.raise_for_status()
            if response.status_code != httpx2.codes.OK:
                raise UnavailableError(
                    f"{url} was answered with {response.status_code};"
                    " check the version and the mirror setting."
                )
            async for part in response.aiter_bytes():
                got += len(part)
                if got > limit:
                    raise UnavailableError(
                        f"{url} is larger than {limit} bytes; check the mirror."
                    )
                yield part


@contextlib.asynccontextmanager
async def _locked(path: Path) -> AsyncIterator[None]:
    """Hold a lock that other agents and tasks on this machine wait for."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(LOCK_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)


def _versions_in(body: bytes, url: str) -> list[Version]:
    """The versions of an index, as HashiCorp (object) or OpenTofu (list) writes it."""
    try:
        listed = json.loads(body)["versions"]
        names = [entry["id"] if isinstance(entry, dict) else entry for entry in listed]
    except (ValueError, KeyError, TypeError):
        raise UnavailableError(
            f"{url} is no list of versions; check the mirror setting."
        ) from None
    found: list[Version] = []
    for name in names:
        with contextlib.suppress(InvalidInputError):
            found.append(parse_version(str(name)))
    return found


def _checksum_of(archive: str, listed: bytes) -> str:
    for line in listed.decode("utf-8", "replace").splitlines():
        match = _SUM_LINE.fullmatch(line.strip())
        if match and match[2] == archive:
            return match[1]
    raise UnavailableError(
        f"The signed checksums do not name {archive}; there is no such release for this"
        " kind of machine."
    )


def _unpack(packed: Path, folder: Path, program: str) -> None:
    """Take the program alone out of its archive, ready to run, and drop the archive."""
    target = folder / program
    try:
        with zipfile.ZipFile(packed) as archive:
            if archive.getinfo(program).file_size > MAX_PROGRAM:
                raise UnavailableError(f"{program} in {packed.name} is too large.")
            with archive.open(program) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file, 1024 * 1024)
                file.flush()
                os.fsync(file.fileno())
    except (zipfile.BadZipFile, KeyError) as error:
        raise UnavailableError(
            f"{packed.name} holds no program {program} ({error})."
        ) from None
    target.chmod(0o755)
    packed.unlink()
