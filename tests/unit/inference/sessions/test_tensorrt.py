"""What is asked of TensorRT, option by option, and which sizes are its."""

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from onnxruntime.capi import _pybind_state

from detco_core.contract.errors import BundleError
from detco_core.contract.manifest import InputSpec
from detco_core.inference.sessions import opening, session
from detco_core.inference.sessions.binding import Bound
from detco_core.inference.sessions.execution import (
    CPU,
    CUDA,
    TENSORRT,
    Execution,
    available_providers,
    provider_options,
)
from detco_core.inference.sessions.session import Session, outputs_of
from detco_core.inference.sessions.tensorrt import Profile, engine_folder, profile_of, tensorrt_options

ORDER = (TENSORRT, CUDA, CPU)
DETECTION = InputSpec(short_side=800, max_side=1333, multiple=32)
PROFILE = Profile((1, 3, 32, 32), (8, 3, 800, 1088), (8, 3, 1216, 1216))


def test_the_profile_holds_every_size_the_model_will_mostly_be_asked_for() -> None:
    assert profile_of(DETECTION, Execution(batch=8)) == PROFILE
    asked = profile_of(InputSpec(), Execution(batch=2, sizes=((480, 640), (20, 900))))
    assert asked == Profile((1, 3, 20, 20), (2, 3, 480, 640), (2, 3, 480, 900))
    plain = profile_of(InputSpec(channels=5, mean=(0.5,) * 5, std=(0.5,) * 5, color="raw"), Execution())
    assert plain == Profile((1, 5, 32, 32), (1, 5, 224, 224), (1, 5, 224, 224))


@pytest.mark.parametrize(
    ("shape", "covered"),
    [
        ((1, 3, 32, 32), True),
        ((8, 3, 1216, 1216), True),
        ((9, 3, 64, 64), False),
        ((1, 3, 31, 64), False),
        ((1, 3, 64, 1217), False),
    ],
)
def test_it_covers_what_lies_between_its_ends(shape: tuple[int, ...], covered: bool) -> None:
    assert PROFILE.covers(shape) == covered


def test_every_option(tmp_path: Path) -> None:
    execution = Execution(providers=ORDER, precision="fp16", gpu_memory=2**31)
    options = tensorrt_options(execution, PROFILE, tmp_path)
    assert options == {
        "device_id": "0",
        "trt_fp16_enable": "True",
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(tmp_path),
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": str(tmp_path),
        "trt_profile_min_shapes": "image:1x3x32x32",
        "trt_profile_opt_shapes": "image:8x3x800x1088",
        "trt_profile_max_shapes": "image:8x3x1216x1216",
        "trt_max_workspace_size": "2147483648",
    }
    assert [name for name, _ in provider_options(execution, options)] == list(ORDER)
    assert provider_options(execution, options)[0] == (TENSORRT, options)
    assert provider_options(execution, options)[1][1]["gpu_mem_limit"] == "2147483648"
    assert tensorrt_options(Execution(), PROFILE, tmp_path)["trt_fp16_enable"] == "False"


@pytest.mark.skipif(TENSORRT not in ort.get_available_providers(), reason="this onnxruntime has no TensorRT provider")
@pytest.mark.parametrize(("wrong", "refused"), [({}, ""), ({"use_tf32": "0"}, "Invalid TensorRT EP option: use_tf32")])
def test_onnxruntime_takes_the_options(bundle: Path, tmp_path: Path, wrong: dict[str, str], refused: str) -> None:
    """It reads them before it looks for TensorRT. `use_tf32`, which it lacks, is why `opening` sets a variable."""
    given = tensorrt_options(Execution(gpu_memory=2**30), PROFILE, tmp_path) | wrong
    options = ort.SessionOptions()
    options.log_severity_level = 4
    # The class beneath `InferenceSession`, which asks TensorRT for its plugins first.
    model = (bundle / "model.onnx").read_bytes()
    session = _pybind_state.InferenceSession(options, model, False, False)
    with pytest.raises(RuntimeError, match=refused) if refused else nullcontext():
        session.initialize_session([TENSORRT], [given], set())


def test_engines_lie_by_model_gpu_range_and_precision(tmp_path: Path) -> None:
    def folder(gpu: str = "NVIDIA H100 80GB HBM3", profile: Profile = PROFILE, precision: str = "fp32") -> Path:
        return engine_folder(tmp_path, "sha256:0123456789abcdef", gpu, profile, precision)

    assert folder().is_dir()
    assert folder().parent == tmp_path / "engines" / "0123456789ab" / "NVIDIA-H100-80GB-HBM3"
    other = Profile(PROFILE.least, PROFILE.best, (8, 3, 1216, 1248))
    assert len({folder(), folder(gpu="../L4"), folder(profile=other), folder(precision="fp16")}) == 4
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="no room for TensorRT's engines"):
        engine_folder(tmp_path / "file", "sha256:0", "x", PROFILE, "fp32")


@pytest.mark.skipif(available_providers()[0] == CUDA, reason="this machine has a GPU")
def test_strict_refuses_to_go_without_it(bundle: Path) -> None:
    with pytest.raises(BundleError, match=TENSORRT):
        Session.open(bundle, Execution(providers=ORDER, strict=True))


class Labelled(Bound):
    """Runs on the CPU and says that it is TensorRT."""

    @property
    def provider(self) -> str:
        return TENSORRT


def test_sizes_without_an_engine_are_computed_beside_it(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Execution] = []

    def bound(model: bytes, execution: Execution, tensorrt: object = None) -> Bound:
        asked.append(execution)
        kind = Labelled if execution.order[0] == TENSORRT else Bound
        return kind(opening.start(model, Execution(providers=(CPU,), threads=1)), None)

    monkeypatch.setattr(session, "bound", bound)
    opened = Session.open(bundle, Execution(providers=ORDER, batch=2))
    assert opened.provider == TENSORRT
    small, large = (np.ones((1, 3, side, side), np.float32) for side in (64, 256))
    # Within the engine's sizes nothing is cut: another engine would cost minutes.
    assert opened.stage([small, small], ("res2",)).provider == TENSORRT
    assert len(asked) == 1
    for outputs in (("res2",), ("res5",), outputs_of(opened.manifest)):
        staged = opened.stage([large], outputs)
        assert staged.provider == CPU
        assert tuple(staged.compute()) == outputs
    assert opened.stage([small] * 3, ("res5",)).provider == CPU
    assert [execution.order for execution in asked[1:]] == [(CUDA, CPU)] * 3
