"""A fresh stack for each end-to-end test."""

import shutil

import pytest

from tests.e2e.stack import Stack


@pytest.fixture
def stack(tmp_path):
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not on PATH")
    made = Stack(tmp_path)
    try:
        yield made
    finally:
        made.close()
