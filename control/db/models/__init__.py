"""Every table, from the first migration on."""

from control.db.models.nodes import AttemptNode
from control.db.models.registry import Alias, AliasMove, Model, ModelVersion, Pin
from control.db.models.runs import (
    Artifact,
    Attempt,
    Checkpoint,
    LogPiece,
    Metric,
    MetricLatest,
    Run,
    RunDependency,
    RunEvent,
)
from control.db.models.service import AuditEntry, IdempotencyKey, Leader, OutboxEntry, Slot, Token, Worker
from control.db.models.sources import Dataset, DatasetVersion, Upload, Weights
from control.db.models.sweeps import MonitorEvaluation, Sweep, SweepRun
from control.db.models.webhooks import Delivery, Webhook

__all__ = [
    "Alias",
    "AliasMove",
    "Artifact",
    "Attempt",
    "AttemptNode",
    "AuditEntry",
    "Checkpoint",
    "Dataset",
    "DatasetVersion",
    "Delivery",
    "IdempotencyKey",
    "Leader",
    "LogPiece",
    "Metric",
    "MetricLatest",
    "Model",
    "ModelVersion",
    "MonitorEvaluation",
    "OutboxEntry",
    "Pin",
    "Run",
    "RunDependency",
    "RunEvent",
    "Slot",
    "Sweep",
    "SweepRun",
    "Token",
    "Upload",
    "Webhook",
    "Weights",
    "Worker",
]
