"""Opening a bundle: digests, threads, the provider really obtained, and only what was asked for computed."""

import dataclasses
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from detco_core.contract.errors import BundleError
from detco_core.contract.manifest import MANIFEST_FILE, Level, Manifest, read_manifest
from detco_core.contract.reader import plain
from detco_core.inference.sessions.execution import CPU, CUDA, TENSORRT, Execution, available_providers
from detco_core.inference.sessions.session import Session, outputs_of
from detco_core.inference.tiny import CHANNELS, STRIDES, write_tiny_bundle
from tests.log_lines import lines_of

SHAPE = (1, 3, 50, 70)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((1, 3, 50, 70)).astype(np.float32)


def rewrite(bundle: Path, change: Callable[[Manifest], Manifest]) -> None:
    manifest = change(read_manifest(bundle))
    (bundle / MANIFEST_FILE).write_text(json.dumps(plain(manifest)), "utf-8")


def test_outputs_equal_a_plain_onnxruntime_run(bundle: Path, image: np.ndarray) -> None:
    session = Session.open(bundle)
    names = outputs_of(session.manifest)
    assert names == ("res2", "res3", "res4", "res5", "pooled")
    bare = ort.InferenceSession(str(bundle / "model.onnx"), providers=[CPU]).run(list(names), {"image": image})
    together = session.run(image, names)
    for name, expected in zip(names, bare, strict=True):
        np.testing.assert_array_equal(together[name], expected)
        np.testing.assert_array_equal(session.run(image, [name])[name], expected)


def test_levels_have_the_shapes_the_manifest_promises(bundle: Path) -> None:
    session = Session.open(bundle)
    for height, width in ((32, 32), (50, 70), (1, 1), (33, 31)):
        maps = session.run(np.zeros((1, 3, height, width), np.float32), outputs_of(session.manifest))
        for level, channels, stride in zip(session.manifest.levels, CHANNELS, STRIDES, strict=True):
            assert maps[level.name].shape == (1, channels, -(-height // stride), -(-width // stride))


def test_a_shallow_level_is_computed_by_a_smaller_graph(bundle: Path, image: np.ndarray, tmp_path: Path) -> None:
    session = Session.open(bundle)
    assert session._bound_for(["pooled"], SHAPE) is session._whole
    shallow = session._bound_for(["res2"], SHAPE)
    assert shallow is session._bound_for(["res2"], SHAPE)
    assert [output.name for output in shallow.session.get_outputs()] == ["res2"]
    assert [output.name for output in session._bound_for(["res2", "res3"], SHAPE).session.get_outputs()] == [
        "res2",
        "res3",
    ]


def test_equal_seeds_give_equal_bundles_and_others_do_not(tmp_path: Path) -> None:
    first, same, other = (write_tiny_bundle(tmp_path / str(n), seed=seed) for n, seed in enumerate((1, 1, 2)))
    assert first.weights_digest == same.weights_digest != other.weights_digest
    assert first.files["onnx"].sha256 == same.files["onnx"].sha256


def test_a_file_that_has_gone_costs_compute_not_answers(
    tmp_path: Path, image: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    write_tiny_bundle(bundle := tmp_path / "bundle", 0)
    session = Session.open(bundle)
    expected = session.run(image, outputs_of(session.manifest))
    (bundle / "model.onnx").unlink()
    for _ in range(2):
        np.testing.assert_array_equal(session.run(image, ["res2"])["res2"], expected["res2"])
    assert session.opened == 1
    assert (
        len([record for record in lines_of(caplog, "detco_core.inference") if "all of the network" in record.message])
        == 1
    )


def test_a_damaged_file_is_refused_by_its_digest(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path)
    data = bytearray((tmp_path / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "model.onnx").write_bytes(data)
    with pytest.raises(BundleError, match="damaged"):
        Session.open(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path)
    (tmp_path / "model.onnx").unlink()
    with pytest.raises(BundleError, match=r"model\.onnx"):
        Session.open(tmp_path)
    with pytest.raises(BundleError, match="not a bundle"):
        Session.open(tmp_path / "nowhere")


def test_a_level_the_graph_lacks_is_named(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path)
    rewrite(
        tmp_path,
        lambda manifest: dataclasses.replace(
            manifest, levels=(*manifest.levels, Level(name="p6", channels=4, stride=64))
        ),
    )
    with pytest.raises(BundleError, match="p6"):
        Session.open(tmp_path)


def test_bytes_that_are_no_model_are_refused_even_with_the_right_digest(tmp_path: Path) -> None:
    import hashlib

    manifest = write_tiny_bundle(tmp_path)
    junk = b"\x3a\x02\x08\x01"  # a graph without anything, by the wire format
    (tmp_path / "model.onnx").write_bytes(junk)
    file = dataclasses.replace(manifest.files["onnx"], sha256="sha256:" + hashlib.sha256(junk).hexdigest())
    rewrite(tmp_path, lambda m: dataclasses.replace(m, files={"onnx": file}))
    with pytest.raises(BundleError):
        Session.open(tmp_path)


@pytest.mark.skipif(available_providers()[0] == CUDA, reason="this machine has a GPU")
class TestWithoutGpu:
    def test_the_cpu_is_chosen_and_onnxruntime_says_nothing(
        self, bundle: Path, image: np.ndarray, capfd: pytest.CaptureFixture[str]
    ) -> None:
        session = Session.open(bundle)
        session.run(image, ["res5"])
        assert session.provider == CPU
        captured = capfd.readouterr()
        assert captured.out == captured.err == ""

    def test_a_provider_that_was_not_obtained_is_reported(
        self, bundle: Path, caplog: pytest.LogCaptureFixture, image: np.ndarray
    ) -> None:
        with caplog.at_level(logging.WARNING):
            session = Session.open(bundle, Execution(providers=(CUDA, CPU)))
        assert session.provider == CPU
        assert f"asked onnxruntime for {CUDA}, got {CPU}" in caplog.text
        assert session.run(image, ["pooled"])["pooled"].shape == (1, 10)

    def test_half_precision_is_left_with_the_gpu(self, bundle: Path, image: np.ndarray) -> None:
        expected = Session.open(bundle).run(image, ["res5"])["res5"]
        for providers in ((CUDA, CPU), (CUDA,), (TENSORRT, CUDA, CPU)):
            session = Session.open(bundle, Execution(providers=providers, precision="fp16"))
            assert (session.provider, session.precision) == (CPU, "fp32")
            np.testing.assert_array_equal(session.run(image, ["res5"])["res5"], expected)

    def test_strict_refuses_to_fall_back(self, bundle: Path) -> None:
        with pytest.raises(BundleError, match=CUDA):
            Session.open(bundle, Execution(providers=(CUDA,), strict=True))


def test_half_precision_on_a_cpu_is_refused(bundle: Path) -> None:
    with pytest.raises(BundleError, match="fp16 is for GPUs"):
        Session.open(bundle, Execution(providers=(CPU,), precision="fp16"))


def test_the_options_reach_onnxruntime(bundle: Path) -> None:
    def options(**given: Any) -> Any:
        return Session.open(bundle, Execution(**given))._whole.session.get_session_options()

    one = options(threads=1)
    assert (one.intra_op_num_threads, one.inter_op_num_threads) == (1, 1)
    assert one.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options(spin_us=20).get_session_config_entry("session.intra_op.allow_spinning") == "1"
    assert options().intra_op_num_threads >= 1
    assert (options().enable_cpu_mem_arena, options(arena=True).enable_cpu_mem_arena) == (False, True)
