"""Every table, from the first migration on."""

from control.db.models.access import AuditEntry, IdempotencyKey, Token
from control.db.models.artifacts import Artifact, Checkpoint
from control.db.models.attempts import Attempt, AttemptNode
from control.db.models.duties import Leader, OutboxEntry
from control.db.models.journal import LogPiece, Metric, MetricLatest, RunEvent
from control.db.models.registry import Alias, AliasMove, Model, ModelVersion, Pin
from control.db.models.runs import Run, RunDependency, RunLabel
from control.db.models.scheduling import Slot, Worker
from control.db.models.sources import Dataset, DatasetVersion, Upload, UploadPart, Weights
from control.db.models.storage import Deletion, RetentionDue, RunUse, StoredObject
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
    "Deletion",
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
    "RetentionDue",
    "Run",
    "RunDependency",
    "RunEvent",
    "RunLabel",
    "RunUse",
    "Slot",
    "StoredObject",
    "Sweep",
    "SweepRun",
    "Token",
    "Upload",
    "UploadPart",
    "Webhook",
    "Weights",
    "Worker",
]
