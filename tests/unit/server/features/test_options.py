"""Parameters of a request: read strictly, from query and JSON alike."""

from typing import Any
from urllib.parse import urlencode

import pytest

from detco_core.contract.errors import InvalidDocument
from detco_core.contract.features import ResizeExact, ResizeShortSide
from server.features.options import FeatureOptions, query_document, read_options, read_query


def test_a_query_says_the_same_as_json() -> None:
    query = [
        ("model", "tiny@production"),
        ("levels", "res4, res5"),
        ("pool", "gem"),
        ("gem_p", "2.5"),
        ("dtype", "float16"),
        ("normalize", "l2"),
        ("resize", '{"short_side": 800, "max_side": 1333}'),
        ("orientation", "ignore"),
        ("timeout_ms", "500"),
        ("expect_digest", "sha256:1"),
        ("boxes", "[[1, 2, 3.5, 4]]"),
        ("roi_size", "14"),
        ("roi_levels", "assign"),
    ]
    options = read_query(urlencode(query))
    assert options == FeatureOptions(
        model="tiny@production",
        levels=("res4", "res5"),
        pool="gem",
        gem_p=2.5,
        dtype="float16",
        normalize="l2",
        resize=ResizeShortSide(short_side=800, max_side=1333),
        orientation="ignore",
        timeout_ms=500,
        expect_digest="sha256:1",
        boxes=(((1.0, 2.0, 3.5, 4.0),),),
        roi_size=14,
        roi_levels="assign",
    )


def test_the_defaults() -> None:
    options = read_options({})
    assert options == FeatureOptions()
    assert (options.levels, options.pool, options.dtype, options.normalize) == (None, "none", "float32", "none")
    assert (options.resize, options.orientation, options.timeout_ms) == (None, "exif", 30_000)


@pytest.mark.parametrize(
    ("text", "expected"), [("none", "none"), ('{"height": 3, "width": 4}', ResizeExact(height=3, width=4))]
)
def test_resize_in_a_query(text: str, expected: object) -> None:
    assert read_query(urlencode({"resize": text})).resize == expected


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"level": "res5"}, "level"),
        ({"levels": []}, "levels"),
        ({"levels": ["res5", "res5"]}, "levels"),
        ({"levels": [str(n) for n in range(40)]}, "levels"),
        ({"levels": "res5"}, "levels"),
        ({"pool": "max"}, "pool"),
        ({"dtype": "float64"}, "dtype"),
        ({"normalize": 2}, "normalize"),
        ({"timeout_ms": 0}, "timeout_ms"),
        ({"timeout_ms": 10**9}, "timeout_ms"),
        ({"timeout_ms": True}, "timeout_ms"),
        ({"resize": {"short_side": 5, "depth": 3}}, "resize"),
        ({"orientation": None}, "orientation"),
    ],
)
def test_bad_parameters_are_named(document: Any, path: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        read_options(document)
    assert any(fault.path.startswith(path) for fault in caught.value.faults)


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([[0, 1, 2, 3.5]], (((0.0, 1.0, 2.0, 3.5),),)),
        ([[[0, 1, 2, 3]], []], (((0.0, 1.0, 2.0, 3.0),), ())),
        ([[], [[0, 1, 2, 3]]], ((), ((0.0, 1.0, 2.0, 3.0),))),
        ([], ((),)),
        ([[]], ((),)),
        ([[], []], ((), ())),
    ],
)
def test_one_images_boxes_need_no_list_around_them(boxes: Any, expected: Any) -> None:
    assert read_options({"boxes": boxes}).boxes == expected


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"boxes": [[0, 0, 5]]}, "boxes[0]"),
        ({"boxes": [[0, 0, 5, "5"]]}, "boxes[0][3]"),
        ({"boxes": [[0, 0, 5, float("nan")]]}, "boxes[0][3]"),
        ({"boxes": [[0, 0, 5, 10**400]]}, "boxes[0][3]"),
        ({"boxes": [[[0, 0, 5]]]}, "boxes[0][0]"),
        ({"boxes": "all"}, "boxes"),
        ({"boxes": [1, 2, 3, 4]}, "boxes[0]"),
        ({"boxes": [[[[1]]]]}, "boxes[0][0]"),
        ({"roi_size": 7}, "roi_size"),
        ({"pool": "avg", "gem_p": 3}, "gem_p"),
        ({"pool": "gem", "gem_p": 0}, "gem_p"),
        ({"pool": "gem", "gem_p": "3"}, "gem_p"),
        ({"roi_levels": "each"}, "roi_levels"),
        ({"boxes": [], "roi_size": 65}, "roi_size"),
        ({"boxes": [], "roi_levels": "some"}, "roi_levels"),
    ],
)
def test_bad_boxes_are_named(document: Any, path: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        read_options(document)
    assert caught.value.faults[0].path == path


@pytest.mark.parametrize(
    "items",
    [
        [("timeout_ms", "soon")],
        [("timeout_ms", "-5")],
        [("timeout_ms", "٣")],
        [("timeout_ms", "9" * 5000)],
        [("resize", "{")],
        [("resize", "[" * 100_000)],
        [("boxes", "[[1,2")],
        [("pool", "avg"), ("pool", "none")],
        [("gem_p", "three")],
    ],
)
def test_a_bad_query_is_named(items: list[tuple[str, str]]) -> None:
    with pytest.raises(InvalidDocument) as caught:
        query_document(urlencode(items))
    assert caught.value.faults[0].path == items[0][0]


def test_a_query_is_read_once_while_it_is_short() -> None:
    short, long = (urlencode({"boxes": str([[0, 0, 1, 1]] * count)}) for count in (1, 200))
    assert read_query(short) is read_query(short)
    assert read_query(long) is not read_query(long)
    assert read_query(long) == read_query(long)


def test_what_is_wrong_with_a_query_is_told_every_time() -> None:
    for _ in range(2):
        with pytest.raises(InvalidDocument):
            read_query("pool=median")


@pytest.mark.parametrize("document", [[], "text", None, 5])
def test_options_are_an_object(document: Any) -> None:
    with pytest.raises(InvalidDocument):
        read_options(document)
