"""Models at hand: promoted, rolled back, pinned, failed, let go and taken up again, with the catalogue up or down."""

import asyncio
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from control.errors import Forbidden
from detco_core.inference.tiny import write_tiny_bundle
from server.features.errors import ModelUnavailable, NoDefaultModel, UnknownModel
from server.features.models.catalog import FolderCatalog, VersionRef
from server.features.models.serving import Models
from server.features.models.serving_options import ServingOptions
from server.features.waiting import Entry

OpenModels = Callable[..., Models]
Until = Callable[[Callable[[], bool]], None]


def leased(models: Models, named: str | None = None, only: frozenset[str] | None = None) -> VersionRef:
    """The version that answers a request just now; it is really asked for features."""

    async def ask() -> VersionRef:
        async with models.lease(named, only) as loaded:
            image = np.zeros((1, 3, 32, 32), np.float32)
            computed = await asyncio.wrap_future(loaded.owner.submit(Entry(image, ("pooled",), time.monotonic() + 30)))
            assert computed.maps["pooled"].shape == (1, 10)
            return loaded.version

    return asyncio.run(ask())


@pytest.fixture
def versions(catalog: FolderCatalog) -> list[VersionRef]:
    return list(catalog.bundles)


def test_an_alias_is_followed(
    open_models: OpenModels, catalog: FolderCatalog, versions: list[VersionRef], until: Until
) -> None:
    models = open_models()
    until(lambda: models.settled)
    assert leased(models) == leased(models, "tiny") == leased(models, "tiny@production") == versions[0]
    catalog.aliases["tiny@production"] = versions[1]
    until(lambda: leased(models) == versions[1])
    catalog.aliases["tiny@production"] = versions[0]
    until(lambda: leased(models) == versions[0])
    catalog.aliases["tiny@canary"] = versions[2]
    until(lambda: "tiny@canary" in [state.alias for state in models.states() if state.served])
    assert leased(models, "tiny@canary") == versions[2]
    del catalog.aliases["tiny@canary"]
    models.refresh()
    with pytest.raises(UnknownModel, match="tiny@production"):
        leased(models, "tiny@canary")


def test_a_model_that_was_let_go_of_answers_by_no_name(
    open_models: OpenModels, versions: list[VersionRef], until: Until
) -> None:
    """A version that is asked for by number would be opened and let go of again without end."""
    models = open_models()
    until(lambda: models.settled)
    models.withhold("tiny", withheld=True)
    assert models.withheld() == {"tiny@production": versions[0]}
    for named in (None, "tiny", "tiny@production", "tiny:1", "tiny:2"):
        with pytest.raises(ModelUnavailable, match="unloaded"):
            leased(models, named)
    assert models.loaded() == []
    models.ensure("tiny", 2, 30)
    assert leased(models, "tiny:2") == versions[1]


def test_ensure_then_refresh_serves_at_once(
    open_models: OpenModels, catalog: FolderCatalog, versions: list[VersionRef], until: Until
) -> None:
    models = open_models(poll_seconds=1000)
    until(lambda: models.settled)
    models.ensure("tiny", 2, timeout=30)
    assert leased(models) == versions[0]
    catalog.aliases["tiny@production"] = versions[1]
    models.refresh()
    assert leased(models) == versions[1]


def test_an_answer_from_before_a_promotion_never_overwrites_one_from_after(
    open_models: OpenModels, catalog: FolderCatalog, versions: list[VersionRef], until: Until
) -> None:
    models = open_models(poll_seconds=1000)
    until(lambda: models.settled)
    models.ensure("tiny", 2, timeout=30)
    asked, go_on = threading.Event(), threading.Event()
    answer = catalog.wanted

    class Slow:
        """The catalogue on a slow line: what it answers is old when it arrives."""

        find, fetch = catalog.find, catalog.fetch

        def wanted(self, held: Collection[str] = ()) -> Any:
            old = answer(held)
            asked.set()
            assert go_on.wait(30)
            return old

    models.catalog = Slow()
    slow = threading.Thread(target=models.refresh)
    slow.start()
    assert asked.wait(30)
    catalog.aliases["tiny@production"] = versions[1]
    models.catalog = catalog
    promotion = threading.Thread(target=models.refresh)
    promotion.start()
    go_on.set()
    slow.join()
    promotion.join()
    assert leased(models) == versions[1]


def test_a_version_by_number_is_loaded_on_demand_once(
    open_models: OpenModels, versions: list[VersionRef], until: Until
) -> None:
    models = open_models()
    until(lambda: models.settled)

    async def together() -> list[Any]:
        async def one() -> Any:
            async with models.lease("tiny:3") as loaded:
                return loaded

        return await asyncio.gather(*(one() for _ in range(20)))

    found = asyncio.run(together())
    assert {loaded.version for loaded in found} == {versions[2]}
    assert len({id(loaded) for loaded in found}) == 1


@pytest.mark.parametrize("named", ["tiny:9", "tiny@nowhere", "other", "tiny:x", "@", ":", ""])
def test_what_does_not_exist_is_said(open_models: OpenModels, until: Until, named: str) -> None:
    models = open_models()
    until(lambda: models.settled)
    with pytest.raises(UnknownModel):
        leased(models, named)
    with pytest.raises(UnknownModel):
        models.ensure("tiny", 9, timeout=30)


def test_no_model_at_all_is_ready_and_says_so(open_models: OpenModels, catalog: FolderCatalog, until: Until) -> None:
    catalog.aliases.clear()
    models = open_models()
    until(lambda: models.settled)
    with pytest.raises(NoDefaultModel, match="promote"):
        leased(models)


def test_a_token_for_other_models_is_refused(open_models: OpenModels, until: Until) -> None:
    models = open_models()
    until(lambda: models.settled)
    assert leased(models, only=frozenset({"tiny"})).model == "tiny"
    for named in (None, "tiny:2", "nowhere"):
        with pytest.raises(Forbidden, match="big"):
            leased(models, named, frozenset({"big"}))


def test_a_failed_load_keeps_the_old_one_and_says_why(
    open_models: OpenModels, catalog: FolderCatalog, versions: list[VersionRef], tmp_path: Path, until: Until
) -> None:
    models = open_models()
    until(lambda: models.settled)
    write_tiny_bundle(tmp_path / "bad", seed=9)
    bad = catalog.add("tiny", 4, tmp_path / "bad")
    (tmp_path / "bad" / "model.onnx").write_bytes(b"damaged at its source")
    catalog.aliases["tiny@production"] = bad
    until(lambda: models.states()[0].failure is not None)
    (state,) = models.states()
    assert (state.wanted, state.served) == (bad, versions[0])
    assert "damaged" in str(state.failure)
    assert models.settled
    assert leased(models) == versions[0]
    with pytest.raises(ModelUnavailable, match="damaged"):
        leased(models, "tiny:4")
    with pytest.raises(ModelUnavailable, match="damaged"):
        models.ensure("tiny", 4, timeout=30)
    write_tiny_bundle(tmp_path / "bad", seed=9)
    models.ensure("tiny", 4, timeout=30)
    until(lambda: leased(models) == bad)
    assert models.states()[0].failure is None


def test_other_weights_than_the_records_say_are_refused(
    open_models: OpenModels, catalog: FolderCatalog, bundles: list[Path], until: Until
) -> None:
    models = open_models()
    until(lambda: models.settled)
    wrong = VersionRef("tiny-5", "tiny", 5, "sha256:other")
    catalog.bundles[wrong] = bundles[0]
    with pytest.raises(ModelUnavailable, match="sha256:other"):
        leased(models, "tiny:5")


def test_pinned_versions_stay_and_others_are_let_go(
    open_models: OpenModels, catalog: FolderCatalog, versions: list[VersionRef], bundles: list[Path], until: Until
) -> None:
    catalog.pinned.add(versions[1])
    more = [catalog.add("tiny", number, bundles[2]) for number in (6, 7)]
    models = open_models(max_loaded=3)
    until(lambda: {loaded.version for loaded in models.loaded()} == set(versions[:2]))
    old = leased(models, "tiny:3")
    for number in (6, 7, 6):
        leased(models, f"tiny:{number}")
        kept = {loaded.version for loaded in models.loaded()}
        assert {versions[0], versions[1]} < kept
        assert len(kept) == 3
    assert old not in kept
    assert more[0] in kept


def bundles_of(root: Path) -> set[str]:
    return {folder.name for folder in (root / "serving" / "bundles").iterdir()}


def test_the_disk_holds_what_is_held_and_no_more(
    open_models: OpenModels, catalog: FolderCatalog, versions: list[VersionRef], tmp_path: Path, until: Until
) -> None:
    left = tmp_path / "serving" / "bundles" / "of-an-earlier-life"
    left.mkdir(parents=True)
    models = open_models(max_loaded=2)
    until(lambda: models.settled)
    assert not left.exists()
    for number in (2, 3, 2, 3):
        leased(models, f"tiny:{number}")
        held = {loaded.version.id for loaded in models.loaded()}
        assert len(held) == 2
        until(lambda: bundles_of(tmp_path) == held)  # noqa: B023 - called before the next turn


def test_the_bundle_of_a_model_in_use_stays_until_it_is_not(
    open_models: OpenModels, versions: list[VersionRef], tmp_path: Path, until: Until
) -> None:
    models = open_models(max_loaded=1)
    until(lambda: models.settled)

    async def hold() -> None:
        async with models.lease("tiny:2") as second:
            async with models.lease("tiny:3"):
                assert second not in models.loaded()
            models.refresh()
            # Another part of it may be opened yet.
            work = second.owner.submit(Entry(np.zeros((1, 3, 32, 32), np.float32), ("res2",), time.monotonic() + 30))
            assert "res2" in (await asyncio.wrap_future(work)).maps

    asyncio.run(hold())
    until(lambda: versions[1].id not in bundles_of(tmp_path))


def test_an_index_that_cannot_be_written_is_written_later_and_keeps_what_a_restart_needs(
    open_models: OpenModels,
    catalog: FolderCatalog,
    versions: list[VersionRef],
    tmp_path: Path,
    until: Until,
    caplog: pytest.LogCaptureFixture,
) -> None:
    models = open_models()
    until(lambda: models.settled)
    index = tmp_path / "serving" / "index.json"
    until(index.is_file)
    index.unlink()
    (index / "in the way").mkdir(parents=True)
    catalog.aliases["tiny@production"] = versions[1]
    until(lambda: leased(models) == versions[1] and models._settler.is_behind)
    until(lambda: "a restart would take up older ones" in caplog.text)
    for _ in range(3):
        models.refresh()
    assert {version.id for version in versions[:2]} <= bundles_of(tmp_path)
    (index / "in the way").rmdir()
    index.rmdir()
    until(lambda: index.is_file() and versions[1].id in index.read_text())
    assert caplog.text.count("a restart would take up older ones") == 1


def test_a_pin_that_cannot_be_loaded_is_told(
    open_models: OpenModels, catalog: FolderCatalog, versions: list[VersionRef], until: Until, tmp_path: Path
) -> None:
    write_tiny_bundle(tmp_path / "bad", seed=9)
    bad = catalog.add("tiny", 4, tmp_path / "bad")
    (tmp_path / "bad" / "model.onnx").write_bytes(b"damaged at its source")
    catalog.pinned |= {bad, versions[1]}
    models = open_models()
    until(lambda: bool(models.pins_failed()))
    assert list(models.pins_failed()) == [bad]
    assert "damaged" in models.pins_failed()[bad]
    assert models.failed_loads >= 1


def test_a_deleted_version_is_let_go_at_once_with_its_bundle(
    open_models: OpenModels, catalog: FolderCatalog, versions: list[VersionRef], tmp_path: Path, until: Until
) -> None:
    catalog.pinned.add(versions[1])
    models = open_models()
    until(lambda: {loaded.version for loaded in models.loaded()} == set(versions[:2]))
    leased(models, "tiny:3")

    catalog.pinned.clear()
    for version in versions[1:]:
        del catalog.bundles[version]
    until(lambda: {loaded.version for loaded in models.loaded()} == {versions[0]})
    until(lambda: bundles_of(tmp_path) == {versions[0].id})
    for named in ("tiny:2", "tiny:3"):
        with pytest.raises(UnknownModel):
            leased(models, named)


def test_a_deleted_version_serves_its_alias_until_the_next_one_is_loaded(
    open_models: OpenModels, catalog: FolderCatalog, versions: list[VersionRef], tmp_path: Path, until: Until
) -> None:
    models = open_models(poll_seconds=1000)
    until(lambda: models.settled)
    write_tiny_bundle(tmp_path / "bad", seed=9)
    catalog.aliases["tiny@production"] = catalog.add("tiny", 4, tmp_path / "bad")
    (tmp_path / "bad" / "model.onnx").write_bytes(b"damaged at its source")
    del catalog.bundles[versions[0]]
    models.refresh()
    until(lambda: models.settled)
    assert leased(models) == versions[0]
    with pytest.raises(UnknownModel):
        leased(models, "tiny:1")

    catalog.aliases["tiny@production"] = versions[1]
    models.refresh()
    until(lambda: models.loaded() != [] and {loaded.version for loaded in models.loaded()} == {versions[1]})


def test_a_model_in_use_finishes_after_it_was_let_go(
    open_models: OpenModels, versions: list[VersionRef], until: Until
) -> None:
    models = open_models(max_loaded=1)
    until(lambda: models.settled)

    async def hold() -> None:
        async with models.lease("tiny:2") as second:
            async with models.lease("tiny:3"):
                assert second not in models.loaded()
                image = np.zeros((1, 3, 32, 32), np.float32)
                work = second.owner.submit(Entry(image, ("pooled",), time.monotonic() + 30))
                assert (await asyncio.wrap_future(work)).maps["pooled"].shape == (1, 10)
            assert second.owner._thread.is_alive()
        second.owner._thread.join(30)
        assert not second.owner._thread.is_alive()

    asyncio.run(hold())


def test_with_the_catalogue_down_everything_at_hand_goes_on(
    open_models: OpenModels, catalog: FolderCatalog, versions: list[VersionRef], until: Until
) -> None:
    models = open_models()
    until(lambda: models.settled)
    leased(models, "tiny:2")
    catalog.down = True
    assert leased(models) == versions[0]
    assert leased(models, "tiny:2") == versions[1]
    with pytest.raises(ModelUnavailable, match="down"):
        leased(models, "tiny:3")
    with pytest.raises(ConnectionError):
        models.refresh()


def test_a_catalogue_that_does_not_answer_holds_up_nobody_else(
    open_models: OpenModels, catalog: FolderCatalog, versions: list[VersionRef], until: Until
) -> None:
    models = open_models(poll_seconds=1000)
    until(lambda: models.settled)
    go_on, find = threading.Event(), catalog.find
    models.catalog = Hanging(catalog, go_on)

    async def ask() -> None:
        async def one(number: int) -> VersionRef:
            async with models.lease(f"tiny:{number}") as loaded:
                return loaded.version

        hanging = [asyncio.create_task(one(2)) for _ in range(100)]
        await asyncio.sleep(0)
        async with models.lease("tiny") as loaded:
            assert loaded.version == versions[0]
        # Who only computes takes asyncio's own threads.
        assert await asyncio.to_thread(find, "tiny", 2) == versions[1]
        go_on.set()
        assert set(await asyncio.gather(*hanging)) == {versions[1]}

    asyncio.run(ask())


def test_a_catalogue_that_is_known_to_be_away_is_not_asked(
    open_models: OpenModels, catalog: FolderCatalog, until: Until
) -> None:
    models = open_models()
    until(lambda: models.settled)
    catalog.down = True
    until(lambda: models._follower.down is not None)
    models.catalog = Hanging(catalog, threading.Event())
    with pytest.raises(ModelUnavailable, match="cannot be asked: the catalogue is down"):
        leased(models, "tiny:3")


class Hanging:
    """A catalogue that answers about single versions when it may."""

    def __init__(self, catalog: FolderCatalog, go_on: threading.Event) -> None:
        self._catalog, self._go_on = catalog, go_on
        self.wanted, self.fetch = catalog.wanted, catalog.fetch

    def find(self, model: str, number: int) -> VersionRef | None:
        assert self._go_on.wait(60)
        return self._catalog.find(model, number)


def test_a_restart_with_the_catalogue_down_serves_the_last_good_models(
    open_models: OpenModels, catalog: FolderCatalog, versions: list[VersionRef], until: Until
) -> None:
    catalog.pinned.add(versions[2])
    first = open_models()
    until(lambda: len(first.loaded()) == 2)
    first.close()
    catalog.down = True
    again = open_models()
    until(lambda: again.settled and len(again.loaded()) == 2)
    assert leased(again) == versions[0]
    assert leased(again, "tiny:3") == versions[2]
    catalog.down = False
    catalog.aliases["tiny@production"] = versions[1]
    until(lambda: leased(again) == versions[1])


def test_the_index_survives_a_start_that_loads_nothing(
    open_models: OpenModels, catalog: FolderCatalog, tmp_path: Path, until: Until
) -> None:
    first = open_models()
    until(lambda: first.settled)
    first.close()
    index = (tmp_path / "serving" / "index.json").read_bytes()
    (model,) = (tmp_path / "serving" / "bundles").glob("*/model.onnx")
    good = model.read_bytes()
    model.write_bytes(b"damaged on this machine")
    catalog.down = True
    second = open_models()
    until(lambda: second.settled)
    with pytest.raises(ModelUnavailable):
        leased(second)
    second.close()
    assert (tmp_path / "serving" / "index.json").read_bytes() == index
    model.write_bytes(good)
    third = open_models()
    until(lambda: third.settled)
    assert leased(third).number == 1


def test_a_bundle_damaged_on_this_machine_is_fetched_again(
    open_models: OpenModels, versions: list[VersionRef], tmp_path: Path, until: Until
) -> None:
    first = open_models()
    until(lambda: first.settled)
    first.close()
    (model,) = (tmp_path / "serving" / "bundles").glob("*/model.onnx")
    model.write_bytes(b"damaged on this machine")
    second = open_models()
    until(lambda: second.settled)
    assert leased(second) == versions[0]


def test_before_the_first_look_nothing_is_called_unknown(catalog: FolderCatalog, tmp_path: Path) -> None:
    models = Models(catalog, ServingOptions(folder=tmp_path))
    assert not models.settled
    with pytest.raises(ModelUnavailable, match="starting"):
        leased(models, "tiny")
    models.close()
