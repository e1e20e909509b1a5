import io
import os
import socket
import tarfile
from pathlib import Path

import pytest

from sluice.terraform.archive import (
    ArchiveError,
    ArchiveLimits,
    check_archive,
    create_archive,
    extract_archive,
)


def write(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n")
    return root


def packed(root: Path) -> bytes:
    target = io.BytesIO()
    create_archive(root, target)
    return target.getvalue()


def names(root: Path) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(packed(root)), mode="r:gz") as tar:
        return [member.name for member in tar if not member.isdir()]


def test_what_is_packed_comes_out_again(tmp_path: Path) -> None:
    root = write(tmp_path / "root", "main.tf", "modules/net/main.tf", "ünï.tf")
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    (root / "link.tf").symlink_to("modules/net/main.tf")
    (root / "modules/up").symlink_to("..")
    (root / "void").mkdir()
    archive = tmp_path / "a.tar.gz"
    with archive.open("wb") as target:
        summary = create_archive(root, target)
    assert check_archive(archive, ArchiveLimits()) == summary
    dest = tmp_path / "dest"
    extract_archive(archive, dest, ArchiveLimits())
    assert (dest / "modules/net/main.tf").read_text() == "# modules/net/main.tf\n"
    assert (dest / "ünï.tf").read_text() == "# ünï.tf\n"
    assert (dest / "link.tf").readlink() == Path("modules/net/main.tf")
    assert (dest / "modules/up").readlink() == Path("..")
    assert os.access(dest / "run.sh", os.X_OK)
    assert not os.access(dest / "main.tf", os.X_OK)
    assert (dest / "void").is_dir()


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    one = write(tmp_path / "one", "b.tf", "a/c.tf", "a.tf")
    two = write(tmp_path / "two", "a.tf", "a/c.tf", "b.tf")
    os.utime(two / "a.tf", (1, 1))
    (two / "b.tf").chmod(0o600)
    assert packed(one) == packed(two)
    (two / "a.tf").write_text("other")
    assert packed(one) != packed(two)


def test_what_is_local_is_never_sent(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        "main.tf",
        ".terraform.lock.hcl",
        ".terraform/environment",
        ".terraform/providers/x/aws",
        ".terraform/modules/modules.json",
        ".terraform/modules/net/main.tf",
        ".terraform/modules/net/.git/config",
        ".git/config",
        ".github/workflow.yml",
        ".sluice/db",
        "terraform.tfstate",
        "terraform.tfstate.backup",
        ".terraform.tfstate.lock.info",
        "terraform.tfstate.d/dev/terraform.tfstate",
        "sub/.terraform/providers/x",
        "sub/x.tfstate",
        "sub/terraform.tfvars",
    )
    write(root, ".terraformignore").joinpath(".terraformignore").write_text("!.git/\n")
    assert names(root) == [
        ".github/workflow.yml",
        ".terraform/modules/modules.json",
        ".terraform/modules/net/main.tf",
        ".terraform.lock.hcl",
        ".terraformignore",
        "main.tf",
        "sub/terraform.tfvars",
    ]


def test_terraformignore_is_kept(tmp_path: Path) -> None:
    root = write(tmp_path, "main.tf", "docs/a.md", "logs/x/y", "logs/keep", "big.zip")
    (root / ".terraformignore").write_text("docs/\nlogs/\n!logs/keep\n*.zip\n")
    assert names(root) == [".terraformignore", "logs/keep", "main.tf"]


def test_a_link_out_of_the_directory_is_refused(tmp_path: Path) -> None:
    root = write(tmp_path / "root", "main.tf")
    (tmp_path / "secret").write_text("key")
    (root / "sub").mkdir()
    (root / "sub" / "link").symlink_to("../../secret")
    with pytest.raises(ArchiveError, match=r"sub/link is a link to \.\./\.\./secret"):
        packed(root)
    (root / ".terraformignore").write_text("link\n")
    assert names(root) == [".terraformignore", "main.tf"]


def test_a_link_with_an_absolute_way_inside_becomes_relative(tmp_path: Path) -> None:
    root = write(tmp_path / "root", "a/main.tf", "b/x.tf")
    (root / "b" / "link").symlink_to(root / "a" / "main.tf")
    (root / "b" / "odd").symlink_to("../b/../a")
    with tarfile.open(fileobj=io.BytesIO(packed(root)), mode="r:gz") as tar:
        assert tar.getmember("b/link").linkname == "../a/main.tf"
        assert tar.getmember("b/odd").linkname == "../a"


def test_sockets_and_pipes_stay(tmp_path: Path) -> None:
    root = write(tmp_path, "main.tf")
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "socket"))
        assert names(root) == ["main.tf"]


def test_nothing_to_pack_is_said(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="no file"):
        packed(tmp_path)
    with pytest.raises(ArchiveError, match="cannot be read: No such file"):
        packed(tmp_path / "missing")


def test_a_name_the_server_would_refuse_is_refused_here(tmp_path: Path) -> None:
    write(tmp_path, "a\nb.tf")
    with pytest.raises(ArchiveError, match="control character"):
        packed(tmp_path)


def test_too_much_is_refused(tmp_path: Path) -> None:
    root = write(tmp_path, "main.tf")
    (root / "big").write_bytes(bytes(3000))
    with pytest.raises(ArchiveError, match="more than 2000 bytes"):
        create_archive(root, io.BytesIO(), ArchiveLimits(max_bytes=2000))
