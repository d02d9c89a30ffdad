"""Builds stand-ins for the libraries that onnxruntime's CUDA provider links to, of the symbols it links to."""

import re
import subprocess
from pathlib import Path

import onnxruntime as ort

HERE = Path(__file__).parent
PROVIDER = Path(ort.__file__).parent / "capi" / "libonnxruntime_providers_cuda.so"
_CREATES = re.compile(r"(cublas|cudnn)\w*Create\w*$|cublasLtCreate$")
_MAKER = "int {}(void **made) {{ *made = calloc(1, 256); return 0; }}"
_EMPTY = "long {}(void) {{ return 0; }}"


def build(folder: Path) -> None:
    """Write the libraries; needs a C compiler and `nm`. Raises `CalledProcessError`."""
    for library, names in _linked().items():
        written = (HERE / "cudart.c").read_text() if library.startswith("libcudart") else "#include <stdlib.h>\n"
        known = set(re.findall(r"^[a-z][\w \*]*?(\w+)\(", written, re.MULTILINE))
        rest = [(_MAKER if _CREATES.match(name) else _EMPTY).format(name) for name in names if name not in known]
        _compile(
            folder, library, "\n".join([written, *rest]), f"{library} {{ global: {'; '.join(names)}; local: *; }};"
        )
    _compile(folder, "libcuda.so.1", (HERE / "driver.c").read_text())
    _compile(folder, "libcurand.so.10", "int curand;")
    _compile(folder, "libcudnn.so.9", _cudnn())


def _linked() -> dict[str, list[str]]:
    """Symbols by the library they carry the version of."""
    command = ["nm", "-D", "--undefined-only", str(PROVIDER)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: dict[str, list[str]] = {}
    for name, library in re.findall(r" U (\w+)@(lib(?:cudart|cublas|cublasLt)\.so\.\d+)", said):
        found.setdefault(library, []).append(name)
    return found


def _cudnn() -> str:
    """Those onnxruntime looks up by name when it runs."""
    names = sorted(set(re.findall(rb"\0(cudnn[A-Z]\w+)\0", PROVIDER.read_bytes())))
    own = {
        "cudnnGetVersion": "size_t cudnnGetVersion(void) { return 92600; }",
        "cudnnGetErrorString": 'const char *cudnnGetErrorString(int error) { return "error"; }',
    }
    lines = [
        own.get(name, (_MAKER if _CREATES.match(name) else _EMPTY).format(name)) for name in map(bytes.decode, names)
    ]
    return "\n".join(["#include <stdlib.h>", *lines])


def _compile(folder: Path, library: str, source: str, versions: str = "") -> None:
    written = folder / f"{library}.c"
    written.write_text(source)
    command = ["cc", "-w", "-shared", "-fPIC", f"-Wl,-soname,{library}", "-o", str(folder / library), str(written)]
    if versions:
        (folder / f"{library}.map").write_text(versions)
        command.append(f"-Wl,--version-script={folder / library}.map")
    subprocess.run(command, check=True)
