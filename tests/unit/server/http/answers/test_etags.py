"""If-Match: what it asks for."""

import pytest

from server.http.answers.etags import etag, expected_version
from server.http.problems import Problem


@pytest.mark.parametrize(
    ("header", "version"),
    [(None, None), ("*", None), (" * ", None), (etag(3), 3), ('W/"3"', 3), ("3", 3), ('"0"', 0)],
)
def test_what_is_asked_for(header: str | None, version: int | None) -> None:
    assert expected_version(header) == version


@pytest.mark.parametrize("header", ["", "x", '"x"', '"3', '"1", "2"', '"-1"', '"' + "9" * 40 + '"'])
def test_what_is_not_ours(header: str) -> None:
    with pytest.raises(Problem) as caught:
        expected_version(header)
    assert caught.value.status == 400
