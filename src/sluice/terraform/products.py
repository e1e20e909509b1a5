"""How the releases of Terraform and OpenTofu are laid out on their makers' hosts and on mirrors."""

import platform
import sys
from dataclasses import dataclass
from importlib.resources import files

from sluice.base.errors import UnavailableError

TERRAFORM_MIRROR = "https://releases.hashicorp.com"
OPENTOFU_MIRROR = "https://github.com/opentofu/opentofu/releases/download"
OPENTOFU_INDEX = "https://get.opentofu.org/tofu/api.json"

_ARCHITECTURES = {
    "x86_64": "amd64",
    "amd64": "amd64",
    "aarch64": "arm64",
    "arm64": "arm64",
    "i686": "386",
    "armv7l": "arm",
}


@dataclass(frozen=True, slots=True)
class Product:
    """A program that can be downloaded, and whose key signs its checksums.

    Attributes:
        title: as its makers write it.
        program: file name of the program, in archives and on the PATH.
        index_url: JSON list of all versions.
        release_url: folder of one release; ``{version}`` is filled in.
        signature_suffix: what the detached signature of the checksums ends in.
        key: the makers' public OpenPGP key or keys, armored.
    """

    title: str
    program: str
    index_url: str
    release_url: str
    signature_suffix: str
    key: bytes

    def archive(self, version: str) -> str:
        """File name of the release's archive for this machine.

        Raises:
            UnavailableError: there are no releases for this kind of machine.
        """
        return f"{self.program}_{version}_{_platform(self.title)}.zip"

    def checksums(self, version: str) -> str:
        """File name of the release's checksums."""
        return f"{self.program}_{version}_SHA256SUMS"

    def url(self, version: str, file: str) -> str:
        """Where a file of a release lies."""
        return f"{self.release_url.format(version=version)}/{file}"


def terraform(mirror_url: str = TERRAFORM_MIRROR, key: bytes | None = None) -> Product:
    """Terraform, from HashiCorp's release host or a mirror of the same layout."""
    base = mirror_url.rstrip("/")
    return Product(
        title="Terraform",
        program="terraform",
        index_url=f"{base}/terraform/index.json",
        release_url=base + "/terraform/{version}",
        signature_suffix=".sig",
        key=key or _built_in_key("hashicorp.asc"),
    )


def opentofu(
    mirror_url: str = OPENTOFU_MIRROR,
    index_url: str = OPENTOFU_INDEX,
    key: bytes | None = None,
) -> Product:
    """OpenTofu, from its releases on GitHub or a mirror of the same layout."""
    return Product(
        title="OpenTofu",
        program="tofu",
        index_url=index_url,
        release_url=mirror_url.rstrip("/") + "/v{version}",
        signature_suffix=".gpgsig",
        key=key or _built_in_key("opentofu.asc"),
    )


def _built_in_key(name: str) -> bytes:
    return files("sluice.terraform").joinpath("keys", name).read_bytes()


def _platform(title: str) -> str:
    system = "darwin" if sys.platform == "darwin" else "linux"
    machine = platform.machine().lower()
    try:
        return f"{system}_{_ARCHITECTURES[machine]}"
    except KeyError:
        raise UnavailableError(
            f"There is no {title} download for this machine ({system}, {machine});"
            f" put a fitting program on the agent's PATH."
        ) from None
