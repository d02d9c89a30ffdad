import socket
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from control.errors import InvalidRequest
from control.outbound import ForbiddenAddress, Place, check, check_url, read_url, resolve

NEVER = ["169.254.169.254", "169.254.1.1", "fe80::1", "fd00:ec2::254", "100.100.100.200", "168.63.129.16"]
NEVER += ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"]  # noqa: S104 - refused
PRIVATE = ["127.0.0.1", "::1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd12::1", "240.0.0.1"]
PRIVATE += ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::1"]
PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8"]
EVERYTHING = (ip_network("0.0.0.0/0"), ip_network("::/0"))


@pytest.mark.parametrize("address", [*NEVER, *PRIVATE])
def test_what_is_inside_is_refused(address: str) -> None:
    with pytest.raises(ForbiddenAddress):
        check(ip_address(address), ())


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_is_taken(address: str) -> None:
    check(ip_address(address), ())


@pytest.mark.parametrize("address", NEVER)
def test_no_setting_opens_metadata(address: str) -> None:
    with pytest.raises(ForbiddenAddress, match="never called"):
        check(ip_address(address), EVERYTHING)


def test_a_setting_opens_a_network_and_no_other() -> None:
    check(ip_address("10.1.2.3"), (ip_network("10.1.0.0/16"),))
    with pytest.raises(ForbiddenAddress, match="DETCO_WEBHOOK_NETWORKS"):
        check(ip_address("10.2.0.1"), (ip_network("10.1.0.0/16"), ip_network("fd12::/64")))


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://example.org/hook?x=1", Place("https", "example.org", 443)),
        ("http://example.org:8080", Place("http", "example.org", 8080)),
        ("http://[2606:4700::1111]/", Place("http", "2606:4700::1111", 80)),
    ],
)
def test_urls_are_read(url: str, place: Place) -> None:
    assert read_url(url) == place


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://example.org", "file:///etc/passwd", "gopher://example.org", "javascript:alert(1)", "//example.org"),
        *("http://", "http://:80", "http://user:pw@example.org", "http://example.org@10.0.0.1", "http://a\\@b.org"),
        *("http://example.org:99999", "http://example.org:0", "http://example.org:x", "http://[::1", "http://e.org/#a"),
        *(
            "http://exa mple.org",
            "http://example.org/\r\nX: 1",
            "http://ex\u00e4mple.org",
            "http://e.org/" + "x" * 2000,
        ),
        *("http://127.0.0.1/", "http://[::1]/", "http://[::ffff:10.0.0.1]/", "https://169.254.169.254/latest"),
    ],
)
def test_urls_that_could_never_be_called_are_refused(url: str) -> None:
    with pytest.raises(InvalidRequest, match="url"):
        check_url(url, ())


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1"])
def test_names_and_odd_spellings_are_checked_as_what_they_resolve_to(host: str) -> None:
    check_url(f"http://{host}/", ())
    with pytest.raises(ForbiddenAddress):
        resolve(read_url(f"http://{host}/"), ())
    assert resolve(Place("http", "127.1", 80), (ip_network("127.0.0.0/8"),)) == "127.0.0.1"


def test_a_name_that_mixes_public_and_private_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    def mixed(*_: Any, **__: Any) -> Any:
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, ("8.8.8.8", 80)), (*kind, ("10.0.0.1", 80))]

    monkeypatch.setattr(socket, "getaddrinfo", mixed)
    with pytest.raises(ForbiddenAddress, match=r"10\.0\.0\.1"):
        resolve(Place("http", "both.example.org", 80), ())
