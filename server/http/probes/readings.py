"""What a scrape of the metrics reads: the jobs from the tables, the rest from the feature path."""

from functools import partial

from control.records.runs.counts import job_counts, slot_counts
from control.records.store.objects import count_damaged
from server.exposition import HeldModel, Readings
from server.features.engine import FeatureEngine
from server.features.models.loaded import Loaded
from server.http.deps import Services


def watch(services: Services) -> None:
    """Have the telemetry of a process show what the process serves."""
    if services.serves_api:
        services.telemetry.watch(lambda: services.patience.ask(partial(_of_records, services)))
    if services.features is not None:
        services.telemetry.watch(partial(_of_features, services.features))


def _of_records(services: Services) -> Readings:
    with services.look() as session:
        return Readings(jobs=job_counts(session), slots=slot_counts(session), damaged=count_damaged(session))


def _of_features(engine: FeatureEngine) -> Readings:
    return Readings(
        images=engine.admission.images,
        images_refused=engine.admission.refused,
        reply_bytes=engine.memory.held,
        result_bytes=None if engine.results is None else engine.results.bytes,
        held=[_held(model) for model in engine.models.loaded()],
        failed_loads=engine.models.failed_loads,
        models={state.alias: state.served == state.wanted for state in engine.models.states()},
    )


def _held(loaded: Loaded) -> HeldModel:
    return HeldModel(
        model=loaded.version.model,
        version=str(loaded.version.number),
        provider=loaded.session.provider,
        precision=loaded.session.precision,
        bytes=loaded.bytes,
        images=loaded.owner.computed,
        batches=loaded.owner.runs,
        sizes=dict(loaded.owner.sizes),
        dropped=loaded.owner.dropped,
    )
