"""The bundles that are served: ResNet-50s with random weights, exported once and kept, or networks of a few kilobytes.

python -m benchmarks.serving.bundles FOLDER SEED
"""

import subprocess
import sys
from pathlib import Path

from benchmarks.machine import ROOT
from detco_core.contract.manifest import MANIFEST_FILE, InputSpec, Manifest
from detco_core.inference.tiny import write_tiny_bundle

ARCHITECTURE = "resnet50"
KEPT = ROOT / "build" / "serving"


def resnet50(seed: int) -> Path:
    """The folder of a ResNet-50's bundle: its weights are those of the seed."""
    folder = KEPT / f"{ARCHITECTURE}-{seed}"
    if not (folder / MANIFEST_FILE).exists():
        # A process of its own: torch would stay in this one's memory.
        command = [sys.executable, "-m", "benchmarks.serving.bundles", str(folder), str(seed)]
        subprocess.run(command, check=True, cwd=ROOT)
    return folder


def tiny(folder: Path, seed: int) -> Path:
    """A bundle that a test can afford."""
    write_tiny_bundle(folder, seed)
    return folder


def export(folder: Path, seed: int) -> None:
    """Write a bundle of the ONNX file alone: an export job's, without the other formats and the proof."""
    import torch

    from detco_core.export.bundle import assembling, describe, write_manifest
    from detco_core.export.onnx import write_onnx
    from detco_core.export.subject import Subject
    from detco_core.nets.backbone import make_backbone
    from detco_core.nets.weights import state_digest

    torch.manual_seed(seed)
    subject = Subject(make_backbone(ARCHITECTURE).eval(), InputSpec())
    with assembling(folder) as new:
        write_onnx(subject.backbone, new / "model.onnx")
        manifest = Manifest(
            architecture=ARCHITECTURE,
            weights_digest=state_digest(subject.backbone.state_dict()),
            levels=subject.levels,
            pooled=subject.levels[-1].channels,
            input=subject.input,
            files={"onnx": describe(new, "model.onnx")},
            parity={},
        )
        write_manifest(new, manifest)


if __name__ == "__main__":
    export(Path(sys.argv[1]), int(sys.argv[2]))
