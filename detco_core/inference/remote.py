"""Brings a promoted backbone from a service into a folder of this machine, to be run in-process."""

import json
import os
import urllib.parse
from pathlib import Path

from detco_core.contract.errors import BundleError
from detco_core.contract.manifest import MANIFEST_FILE, Manifest, read_manifest
from detco_core.inference.asking import TOKEN, Service, ServiceAway
from detco_core.inference.kept import KeptBundles, cache_folder, manifest_digest

DEFAULT_ALIAS = "production"


def fetch_bundle(
    url: str,
    model: str,
    token: str | None = None,
    expect_digest: str | None = None,
    folder: Path | None = None,
) -> Path:
    """The bundle folder of a model of the service at `url`, with what in-process inference needs; from `folder` when it
    was fetched before and is whole.

    A service that does not answer is not needed for what is here and cannot be another by now: a version by its number,
    or what an alias named last if it has the weights of `expect_digest`.

    Args:
        url: of the service, e.g. `http://host:8000`.
        model: `name@alias`, `name:version`, or `name` for its alias `production`.
        token: with the scope `read`; None: the environment's DETCO_TOKEN.
        expect_digest: weights digest relied on.
        folder: where bundles are kept by digest; None: DETCO_CACHE, else `~/.cache/detco`.

    Raises:
        BundleError: the service cannot be asked (`ServiceAway`), has no such model, or other weights than expected; or
            a file did not come as the manifest says.
    """
    kept = KeptBundles(folder or cache_folder())
    service = Service(url.rstrip("/"), token or os.environ.get(TOKEN, ""))
    model = _full(model)
    try:
        base, manifest_text = _manifest(service, model)
        digest = manifest_digest(manifest_text)
        # What is here needs no place to write to: the folder may be a part of an image, read-only.
        bundle = kept.find(digest) or _brought(service, base, manifest_text, kept, expect_digest, model)
        _expect(read_manifest(bundle), expect_digest, model)
    except ServiceAway as error:
        return _without_service(kept, service.url, model, expect_digest, error)
    kept.remember(service.url, model, digest)
    return bundle


def _full(model: str) -> str:
    """`name:version` or `name@alias`, in full: equal words for equal models."""
    name, colon, number = model.partition(":")
    if not name.partition("@")[0]:
        raise BundleError(f"{model!r} names no model: it is name@alias, name:3, or name for its alias {DEFAULT_ALIAS}")
    if colon:
        if not (number.isascii() and number.isdigit()):
            raise BundleError(f"{model!r} names no version: a version is a number, as in name:3; an alias name@alias")
        return f"{name}:{int(number)}"
    name, _, alias = model.partition("@")
    return f"{name}@{alias or DEFAULT_ALIAS}"


def _manifest(service: Service, model: str) -> tuple[str, bytes]:
    """Where the files of the version are, and its manifest."""
    name, _, number = model.partition(":")
    if not number:
        name, _, alias = model.partition("@")
        quoted, alias = urllib.parse.quote(name, safe=""), urllib.parse.quote(alias, safe="")
        number = _version(service, f"/v1/models/{quoted}/aliases/{alias}")
    base = f"/v1/models/{urllib.parse.quote(name, safe='')}/versions/{number}/files"
    return base, service.read(f"{base}/manifest")


def _version(service: Service, path: str) -> str:
    content = service.read(path)
    try:
        return str(int(json.loads(content)["version"]))
    except (ValueError, TypeError, KeyError) as error:
        raise BundleError(f"{service.url}{path} is no answer of this service: {content[:100]!r}") from error


def _brought(
    service: Service, base: str, manifest_text: bytes, kept: KeptBundles, expect_digest: str | None, model: str
) -> Path:
    """The bundle, fetched now, unless its manifest tells that it has other weights than expected."""
    with kept.draft() as draft:
        (draft / MANIFEST_FILE).write_bytes(manifest_text)
        manifest = read_manifest(draft)
        _expect(manifest, expect_digest, model)
        _bring(service, base, manifest, draft)
        return kept.place(draft, manifest_digest(manifest_text))


def _bring(service: Service, base: str, manifest: Manifest, draft: Path) -> None:
    """Fetch what the manifest names, and check it."""
    file = manifest.files["onnx"]
    target = draft / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    found, size = service.save(f"{base}/onnx", target)
    if size < file.bytes:
        raise ServiceAway(f"{service.url}{base}/onnx broke off after {size} of {file.bytes} bytes: try again")
    if found != file.sha256:
        raise BundleError(f"{service.url}{base}/onnx came as {found}; the manifest says {file.sha256}: try again")


def _without_service(kept: KeptBundles, url: str, model: str, expect_digest: str | None, error: ServiceAway) -> Path:
    """What was fetched before, where it cannot be another by now."""
    bundle = kept.remembered(url, model)
    if bundle is None:
        raise error
    weights = read_manifest(bundle).weights_digest
    if expect_digest == weights or (expect_digest is None and ":" in model):
        return bundle
    if expect_digest is None:
        remedy = f"expect_digest={weights!r} takes what {model} was when it was fetched last, without asking"
    else:
        remedy = f"{model} had the weights {weights} when it was fetched last, expected were {expect_digest}"
    raise ServiceAway(f"{error}; {remedy}") from error


def _expect(manifest: Manifest, digest: str | None, model: str) -> None:
    if digest is not None and digest != manifest.weights_digest:
        raise BundleError(
            f"{model} has the weights {manifest.weights_digest}, expected were {digest}: name the version that has "
            "them, or decide to follow"
        )
