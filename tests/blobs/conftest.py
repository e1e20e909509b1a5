from pathlib import Path

import pytest

from sluice.blobs.store import Blobs, S3Settings, open_local_blobs, open_s3_blobs


@pytest.fixture
def s3_settings(s3_endpoint: str, s3_bucket: str) -> S3Settings:
    return S3Settings(
        bucket=s3_bucket,
        prefix="some/where",
        endpoint=s3_endpoint,
        region="us-east-1",
        access_key_id="test",
        secret_access_key="test",
        allow_http=True,
    )


@pytest.fixture(params=["local", "s3"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    if request.param == "local":
        return open_local_blobs(tmp_path / "deep" / "blobs")
    return open_s3_blobs(request.getfixturevalue("s3_settings"))
