"""Metrics: counted, read at the scrape, and left out while what they read is away."""

import pytest

from server.telemetry import Readings, Telemetry


def test_streams_go_down_again() -> None:
    telemetry = Telemetry()
    with telemetry.stream():
        with pytest.raises(ZeroDivisionError), telemetry.stream():
            int(b"detco_http_streams 2.0" in telemetry.exposition()) / 0
        assert b"detco_http_streams 1.0" in telemetry.exposition()
    assert b"detco_http_streams 0.0" in telemetry.exposition()


def test_readings_are_fresh_at_each_scrape() -> None:
    telemetry, jobs = Telemetry(), {("pretrain", "queued"): 1}
    telemetry.watch(lambda: Readings(jobs=jobs, models={"m@production": True}, images=3))
    assert b'detco_jobs{kind="pretrain",state="queued"} 1.0' in telemetry.exposition()
    jobs["pretrain", "queued"] = 5
    text = telemetry.exposition()
    assert b'detco_jobs{kind="pretrain",state="queued"} 5.0' in text
    assert b'detco_alias_served{alias="m@production"} 1.0' in text
    assert b"detco_feature_images 3.0" in text
    assert b"detco_slots" not in text


def test_what_is_away_is_left_out() -> None:
    telemetry = Telemetry()

    def away() -> Readings:
        raise ConnectionError("the database is away")

    telemetry.watch(away)
    telemetry.watch(lambda: Readings(images_refused=2))
    telemetry.refused("unauthorized")
    text = telemetry.exposition()
    assert b"detco_feature_refused_total 2.0" in text
    assert b'detco_auth_refused_total{code="unauthorized"} 1.0' in text
