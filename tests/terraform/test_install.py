"""Programs come from the PATH, the cache or a mirror, and never past a failed check."""

import asyncio
import io
import multiprocessing
import os
import subprocess
import zipfile
from pathlib import Path

import httpx2
import pytest

from sluice.base.errors import InvalidInputError, UnavailableError
from sluice.terraform import install, products
from sluice.terraform.install import Installer
from sluice.terraform.products import Product
from sluice.terraform.signature import check_signature
from tests.terraform.conftest import PROGRAM, detached, new_key

DATA = Path(__file__).parent / "data"
GENUINE = [
    (products.terraform(), "terraform_1.9.8_SHA256SUMS", "1.9.8"),
    (products.opentofu(), "tofu_1.8.5_SHA256SUMS", "1.8.5"),
]


@pytest.fixture(autouse=True)
def without_delay(monkeypatch):
    monkeypatch.setattr(install, "RETRY_SECONDS", 0.01)


async def ensure(
    cache: Path, constraint: str, product: Product, said: list[str] | None = None
) -> Path:
    async with httpx2.AsyncClient(timeout=40) as http:
        installer = Installer(
            cache,
            http,
            {"terraform": product},
            say=(said if said is not None else []).append,
        )
        return await installer.ensure("terraform", constraint)


def put_on_path(bin_dir: Path, version: str) -> Path:
    program = bin_dir / "terraform-under-test"
    program.write_text(PROGRAM.replace("VERSION", version))
    program.chmod(0o755)
    return program


def nothing_of(cache: Path) -> bool:
    return not [
        path
        for path in cache.rglob("*")
        if path.name == "terraform-under-test" and path.is_file()
    ]


async def test_exact_version_is_downloaded_checked_and_runs(mirror, bin_dir, tmp_path):
    mirror.release("1.9.8")
    said: list[str] = []
    program = await ensure(tmp_path / "cache", "1.9.8", mirror.product(), said)

    told = subprocess.run(
        [program, "version", "-json"], capture_output=True, check=True
    )
    assert b"1.9.8" in told.stdout
    assert program == tmp_path / "cache/terraform-under-test/1.9.8/terraform-under-test"
    assert [path.name for path in program.parent.iterdir()] == ["terraform-under-test"]
    assert "/terraform/index.json" not in mirror.requests
    assert said == ["downloading Terraform 1.9.8"]


async def test_second_time_nothing_is_asked_of_the_mirror(mirror, bin_dir, tmp_path):
    mirror.release("1.9.8")
    first = await ensure(tmp_path, "1.9.8", mirror.product())
    mirror.requests.clear()
    assert await ensure(tmp_path, "1.9.8", mirror.product()) == first
    assert mirror.requests == []


async def test_newest_fitting_release_is_taken(mirror, bin_dir, tmp_path):
    for version in ("1.9.8", "1.10.0", "1.10.3", "2.0.0-rc1", "2.0.0"):
        mirror.release(version)
    assert (await ensure(tmp_path, "~> 1.10", mirror.product())).parent.name == "1.10.3"
    assert (await ensure(tmp_path, "latest", mirror.product())).parent.name == "2.0.0"


async def test_program_on_the_path_is_taken_where_it_fits(mirror, bin_dir, tmp_path):
    mirror.release("1.9.8")
    mirror.release("1.11.9")
    present = put_on_path(bin_dir, "1.11.4")
    assert await ensure(tmp_path, "~> 1.11.0", mirror.product()) == present
    assert await ensure(tmp_path, "latest", mirror.product()) == present
    assert mirror.requests == []
    assert (await ensure(tmp_path, "1.9.8", mirror.product())).parent.name == "1.9.8"


async def test_cache_serves_while_the_mirror_is_away(mirror, bin_dir, tmp_path):
    mirror.release("1.9.8")
    first = await ensure(tmp_path, "1.9.8", mirror.product())
    mirror.files.clear()
    assert await ensure(tmp_path, "~> 1.9.0", mirror.product()) == first


async def test_what_is_nowhere_is_named_with_what_the_path_has(
    mirror, bin_dir, tmp_path
):
    put_on_path(bin_dir, "1.11.4")
    with pytest.raises(UnavailableError) as failed:
        await ensure(tmp_path, "1.9.8", mirror.product())
    assert "404" in failed.value.detail
    assert "1.11.4" in failed.value.detail
    assert "\n" not in failed.value.detail


async def test_no_release_that_fits_is_said(mirror, bin_dir, tmp_path):
    mirror.release("1.9.8")
    with pytest.raises(UnavailableError, match=r"fits '> 3'"):
        await ensure(tmp_path, "> 3", mirror.product())


async def test_tampered_archive_is_refused(mirror, bin_dir, tmp_path):
    mirror.release("1.9.8")
    name = next(path for path in mirror.files if path.endswith(".zip"))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("terraform-under-test", "#!/bin/sh\necho evil\n")
    mirror.files[name] = buffer.getvalue()
    with pytest.raises(UnavailableError, match="SHA-256") as refused:
        await ensure(tmp_path, "1.9.8", mirror.product())
    assert "nothing was installed" in refused.value.detail
    assert nothing_of(tmp_path)


async def test_tampered_checksums_are_refused(mirror, bin_dir, tmp_path):
    mirror.release("1.9.8")
    name = next(path for path in mirror.files if path.endswith("SHA256SUMS"))
    mirror.files[name] = mirror.files[name].replace(b"0" * 64, b"1" * 64)
    with pytest.raises(UnavailableError, match="signature") as refused:
        await ensure(tmp_path, "1.9.8", mirror.product())
    assert "backtrace" not in refused.value.detail
    assert "\n" not in refused.value.detail
    assert not [path for path in mirror.requests if path.endswith(".zip")]
    assert nothing_of(tmp_path)


async def test_signature_by_another_key_is_refused(mirror, bin_dir, tmp_path):
    mirror.release("1.9.8")
    name = next(path for path in mirror.files if path.endswith("SHA256SUMS"))
    mirror.files[name + ".sig"] = detached(new_key(), mirror.files[name])
    with pytest.raises(UnavailableError, match="signature"):
        await ensure(tmp_path, "1.9.8", mirror.product())
    assert nothing_of(tmp_path)


async def test_mirror_is_not_trusted_under_the_built_in_key(mirror, bin_dir, tmp_path):
    mirror.release("1.9.8")
    product = mirror.product(key=products.terraform().key)
    with pytest.raises(UnavailableError) as refused:
        await ensure(tmp_path, "1.9.8", product)
    assert "C874011F0AB405110D02105534365D9472D7468F" in refused.value.detail


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"no key at all",
        b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----",
    ],
)
async def test_unreadable_key_or_signature_is_one_sentence(key):
    with pytest.raises(UnavailableError) as refused:
        check_signature(b"data", b"no signature", armored_keys=key, name="sums")
    assert "\n" not in refused.value.detail


@pytest.mark.parametrize("garbage", [b"", b"garbage"])
async def test_unreadable_signature_is_refused(garbage):
    key = str(new_key().extract_certificate()).encode()
    with pytest.raises(UnavailableError, match="does not fit"):
        check_signature(b"data", garbage, armored_keys=key, name="sums")


async def test_passing_failures_of_the_mirror_are_tried_again(
    mirror, bin_dir, tmp_path
):
    mirror.release("1.9.8")
    for path in mirror.files:
        mirror.failures[path] = 2
    program = await ensure(tmp_path, "1.9.8", mirror.product())
    assert program.exists()


async def test_lasting_failure_names_the_address(mirror, bin_dir, tmp_path):
    mirror.release("1.9.8")
    for path in mirror.files:
        mirror.failures[path] = 99
    with pytest.raises(UnavailableError, match="could not be downloaded"):
        await ensure(tmp_path, "1.9.8", mirror.product())


async def test_unknown_engine_and_bad_constraint_are_refused(mirror, bin_dir, tmp_path):
    with pytest.raises(InvalidInputError):
        await ensure(tmp_path, "newest please", mirror.product())
    async with httpx2.AsyncClient(timeout=40) as http:
        with pytest.raises(InvalidInputError, match="pulumi"):
            await Installer(tmp_path, http, {}).ensure("pulumi", "latest")


async def test_many_tasks_at_once_download_once(mirror, bin_dir, tmp_path):
    mirror.release("1.9.8")
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(ensure(tmp_path, "1.9.8", mirror.product()))
            for _ in range(5)
        ]
    assert len({task.result() for task in tasks}) == 1
    assert len([path for path in mirror.requests if path.endswith(".zip")]) == 1


def _ensure_in_process(cache: Path, product: Product) -> None:
    asyncio.run(ensure(cache, "1.9.8", product))


def test_several_processes_at_once_download_once(mirror, bin_dir, tmp_path):
    mirror.release("1.9.8")
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_ensure_in_process, args=(tmp_path, mirror.product()))
        for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert len([path for path in mirror.requests if path.endswith(".zip")]) == 1


async def test_archive_without_the_program_is_refused(mirror, bin_dir, tmp_path):
    import hashlib

    mirror.release("1.9.8")
    product = mirror.product()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../../terraform-under-test", "climbs")
    folder = "/terraform/1.9.8/"
    sums = (
        f"{hashlib.sha256(buffer.getvalue()).hexdigest()}  {product.archive('1.9.8')}\n"
    )
    mirror.files[folder + product.archive("1.9.8")] = buffer.getvalue()
    mirror.files[folder + product.checksums("1.9.8")] = sums.encode()
    signature = detached(mirror.key, sums.encode())
    mirror.files[folder + product.checksums("1.9.8") + ".sig"] = signature
    with pytest.raises(UnavailableError, match="holds no program"):
        await ensure(tmp_path, "1.9.8", product)
    assert nothing_of(tmp_path)


@pytest.mark.parametrize(("product", "sums", "version"), GENUINE)
def test_built_in_keys_fit_what_the_makers_published(product, sums, version):
    data = (DATA / sums).read_bytes()
    signature = (DATA / (sums + product.signature_suffix)).read_bytes()
    check_signature(data, signature, armored_keys=product.key, name=sums)
    assert product.archive(version).encode() in data
    with pytest.raises(UnavailableError):
        check_signature(data + b"\n", signature, armored_keys=product.key, name=sums)


def test_default_addresses_are_the_makers_own():
    made = products.terraform()
    assert made.url("1.9.8", "x").startswith(
        "https://releases.hashicorp.com/terraform/1.9.8/"
    )
    tofu = products.opentofu(mirror_url="https://mirror.example/tofu/")
    assert tofu.url("1.8.5", "x") == "https://mirror.example/tofu/v1.8.5/x"
    assert os.sep not in made.archive("1.9.8")
