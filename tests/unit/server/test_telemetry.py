"""Metrics: counted, read at the scrape, and left out while what they read is away."""

import re
from pathlib import Path

import pytest

from control.errors import Forbidden
from detco_core.contract.errors import ImageError
from server.exposition import HeldModel, Readings
from server.features.errors import Overloaded
from server.features.schemas import FeatureReply, ImageReply, ModelIdentity, Timings
from server.telemetry import Telemetry


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


def test_the_feature_path_is_measured_by_stage_and_its_errors_by_cause() -> None:
    telemetry = Telemetry()
    model = ModelIdentity("tiny", 1, "sha256:0", "CPUExecutionProvider")
    good = ImageReply(0, None, Timings(0.02, 0.0, 0.2, 0.001), cached=True)
    bad = ImageReply(1, None, Timings(0.02), error=ImageError("unreadable", "damaged"))
    telemetry.answered(FeatureReply(model, (good, bad), 0.3))
    telemetry.not_answered(Overloaded("full", 2))
    telemetry.not_answered(Forbidden("this token is limited to other models"))
    held = HeldModel(
        model="tiny",
        version="1",
        provider="CPUExecutionProvider",
        precision="fp32",
        bytes=7,
        images=9,
        batches=4,
        sizes={1: 1, 2: 1, 3: 2},
        dropped=2,
    )
    telemetry.watch(lambda: Readings(held=[held]))
    text = telemetry.exposition().decode()
    assert 'detco_feature_seconds_sum{model="tiny",stage="compute"} 0.2' in text
    assert 'detco_feature_seconds_bucket{le="0.05",model="tiny",stage="decode"} 1.0' in text
    assert 'detco_feature_seconds_sum{model="tiny",stage="total"} 0.3' in text
    assert 'detco_feature_request_images_sum{model="tiny"} 2.0' in text
    assert 'detco_feature_cached_images_total{model="tiny"} 1.0' in text
    assert 'detco_feature_errors_total{cause="image_unreadable"} 1.0' in text
    assert 'detco_feature_errors_total{cause="Overloaded"} 1.0' in text
    assert 'detco_feature_errors_total{cause="Forbidden"} 1.0' in text
    assert 'detco_model_bytes{model="tiny",version="1"} 7.0' in text
    assert 'detco_model_images_total{model="tiny",version="1"} 9.0' in text
    assert 'detco_model_batches_total{model="tiny",version="1"} 4.0' in text
    for most, count in (("1.0", 1), ("2.0", 2), ("4.0", 4), ("64.0", 4), ("+Inf", 4)):
        assert f'detco_model_batch_images_bucket{{le="{most}",model="tiny",version="1"}} {count}.0' in text
    assert 'detco_model_batch_images_sum{model="tiny",version="1"} 9.0' in text
    assert 'detco_model_dropped_total{model="tiny",version="1"} 2.0' in text
    on = 'precision="fp32",provider="CPUExecutionProvider"'
    assert f'detco_model_loaded{{model="tiny",{on},version="1"}} 1.0' in text


def test_the_page_of_operations_lists_every_metric_with_its_labels() -> None:
    telemetry = Telemetry()
    model = HeldModel(
        model="m", version="1", provider="p", precision="fp32", bytes=1, images=1, batches=1, sizes={1: 1}, dropped=0
    )
    full = Readings(
        jobs={("export", "queued"): 1},
        slots={("train", "free"): 1},
        damaged=0,
        images=0,
        images_refused=0,
        reply_bytes=0,
        result_bytes=0,
        failed_loads=0,
        held=[model],
        models={"m@production": True},
    )
    telemetry.watch(lambda: full)
    telemetry.request("GET", "/", 200, 0.1)
    telemetry.called("ModelInfer", "OK", 0.1)
    telemetry.refused("unauthorized")
    good = ImageReply(0, None, Timings(), cached=True)
    telemetry.answered(FeatureReply(ModelIdentity("m", 1, "sha256:0", "p"), (good,), 0.1))
    telemetry.not_answered(Overloaded("full", 1))
    shown = {}
    for family in telemetry.registry.collect():
        if not family.name.startswith("process_"):  # the library's own
            name = family.name + ("_total" if family.type == "counter" else "")
            shown[name] = (family.type, sorted(set(family.samples[0].labels) - {"le"}))
    page = (Path(__file__).parents[3] / "docs" / "operations.md").read_text("utf-8")
    rows = re.findall(r"^\| `(detco_\w+)` \| (\w+) \| ([^|]*)\|", page, re.MULTILINE)
    assert {name: (kind, sorted(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows} == shown
