from urllib.parse import unquote

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.base.errors import InvalidInputError
from sluice.client.paths import api_path


@pytest.mark.parametrize(
    ("segments", "path"),
    [
        (("tasks", "task-1", "logs"), "/api/v1/tasks/task-1/logs"),
        (("tasks", "a/b"), "/api/v1/tasks/a%2Fb"),
        (("tasks", "a?b#c"), "/api/v1/tasks/a%3Fb%23c"),
        (("tasks", "%2e%2e"), "/api/v1/tasks/%252e%252e"),
        (("organizations", "grün & co"), "/api/v1/organizations/gr%C3%BCn%20%26%20co"),
    ],
)
def test_each_segment_stays_one(segments: tuple[str, ...], path: str) -> None:
    assert api_path(*segments) == path


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_what_would_lead_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match="no id and no name"):
        api_path("tasks", name, "cancel")


@given(st.text(min_size=1).filter(lambda text: text not in {".", ".."}))
def test_whatever_a_name_holds_the_server_gets_it_back(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        return
    url = httpx2.URL("http://127.0.0.1/").join(api_path("tasks", name, "logs"))
    *_, tasks, got, logs = url.raw_path.decode().split("/")
    assert (tasks, unquote(got), logs) == ("tasks", name, "logs")
