"""Every setting of the service, read once at start into one frozen object that is passed down.

A setting is taken from `DETCO_NAME`, or from the file that `DETCO_NAME_FILE` names (its text, stripped).
Nothing below `server.app` and `worker.app` reads the environment.
"""

import socket
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from control.errors import SettingsError
from control.retention import Policy
from control.settings.sources import PREFIX, NamedFiles, split


class Settings(BaseSettings):
    """Settings of server and worker alike; the defaults are those of the embedded service."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    # Where things are kept
    data_dir: Path = Path("~/.detco")
    """Everything the embedded service keeps, and every host's working files."""
    database_url: str | None = None
    """`postgresql://...`; unset: SQLite at `DATA_DIR/detco.sqlite3`."""
    broker_url: str | None = None
    """`redis://...`; unset: Celery's filesystem transport under `DATA_DIR/broker`."""
    store_url: str | None = None
    """`s3://bucket/prefix?endpoint_url=...`; unset: `DATA_DIR/artifacts`."""
    dataset_roots: Annotated[tuple[str, ...], NoDecode] = ()
    """Where data sets may lie: paths separated by `:`, or a JSON list, also of `s3://BUCKET/PREFIX`. Unset: the home
    folder when embedded."""
    bootstrap_token_file: Path | None = None
    """File with the first admin token; unset: `DATA_DIR/token`, written at start when embedded."""

    # The service and its callers
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    grpc_port: int | None = Field(default=None, ge=0, le=65535)
    """The Open Inference Protocol over gRPC is served here, on `DETCO_HOST`; unset: nowhere. Needs the extra `grpc`."""
    log_level: str = "INFO"
    access_log: str | None = None
    """File that gets a line of JSON for every request; `-`: stderr; unset: none."""
    max_request_bytes: int = Field(default=64 * 2**20, gt=0)
    audit_days: int = Field(default=365, ge=1)
    """Entries of the audit are kept this long."""
    webhook_key: SecretStr | None = Field(default=None)
    """Secrets of webhooks are derived from it; unset: `DATA_DIR/webhook_key`, written on first use when embedded."""
    webhook_networks: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = ()
    """Private networks that webhooks may call, separated by commas."""

    # Models
    default_model: str | None = None
    """Model that `/features` uses when a request names none."""
    serve_device: Literal["auto", "cpu", "cuda", "tensorrt"] = "auto"
    """What models run on; `auto` takes a GPU of `DETCO_SERVE_GPUS`; `cuda` and `tensorrt` refuse to fall back."""
    serve_gpus: Annotated[tuple[str, ...], NoDecode] = ()
    """UUIDs or indices of the GPUs kept for serving, separated by commas; a server computes on the first. Unset: on the
    CPU."""
    serve_gpu_memory: int = Field(default=4 * 2**30, gt=0)
    """Bytes ONNX Runtime's arena may take on the GPU, for each model and each part of one that runs by itself."""
    serve_precision: Literal["fp32", "tf32", "fp16"] = "fp32"
    """Of models on a GPU: as exported, with products rounded (TF32), or in half precision; a CPU has fp32 alone."""
    serve_threads: int | None = Field(default=None, gt=0)
    """CPU threads of one model's computation; unset: as many as the process may use."""
    serve_spin_us: int = Field(default=0, ge=0, le=1000)
    """Microseconds for which those look for more of it before they sleep; 20 is faster where cores are free."""
    batch_images: int | None = Field(default=None, ge=1, le=256)
    """Images of one size that run together; unset: 8 on a GPU, 1 on the CPU, where batches gain nothing."""
    batch_wait_ms: float = Field(default=2.0, ge=0, le=1000)
    """How long the first image of a batch waits for others."""
    serve_warm_sizes: Annotated[tuple[tuple[PositiveInt, PositiveInt], ...], NoDecode] = ()
    """Sizes `HEIGHTxWIDTH`, separated by commas, that a model computes before it counts as ready."""
    max_loaded_models: int = Field(default=4, gt=0)
    """Model versions held at once; those an alias names or a consumer pinned are always held, and count."""
    max_model_bytes: int = Field(default=4 * 2**30, gt=0)
    """Weights of model versions held at once, in bytes of their files; the same are always held, and count."""

    # Requests for features
    max_images: int = Field(default=64, gt=0)
    """Images in one request to `/features`."""
    max_image_pixels: int = Field(default=50_000_000, gt=0)
    max_boxes: int = Field(default=1000, gt=0)
    """Boxes in one request to `/features`."""
    max_images_under_way: int = Field(default=64, gt=0)
    """Images in the feature server at once; more are refused with 429."""
    max_bulk_images_under_way: int | None = Field(default=None, gt=0)
    """Images in the feature server up to which bulk requests are let in; unset: half of the former."""
    token_images_under_way: int | None = Field(default=None, gt=0)
    """Images of one token in the feature server at once, where its quota says nothing; unset: any number."""
    token_pixels_per_second: int | None = Field(default=None, gt=0)
    """Pixels of the images one token sends, where its quota says nothing; unset: any number."""
    result_cache_bytes: int = Field(default=0, ge=0)
    """Bytes for the features of images asked for before; 0: none are remembered."""
    shared_memory: bool = False
    """Let clients on this machine give and take the tensors of `/v2` in shared memory."""

    # Hosts and their slots
    host_name: str = Field(default_factory=socket.gethostname, min_length=1)
    """Names this machine in the slot table; workers of one machine must agree on it."""
    node_address: str | None = None
    """Where other hosts reach this one's training processes; unset: its address on the way to the database."""
    train_slots: int = Field(default=1, ge=1)
    """Training runs at once on a worker without a GPU."""
    light_slots: int = Field(default=2, ge=1)
    """Scans, exports and evaluations at once on a worker."""
    gpu_busy_bytes: int = Field(default=2 * 2**30, gt=0)
    """A GPU no run has is set aside while so much of its memory is used; driver and desktop use less."""
    cache_bytes: int = Field(default=20 * 2**30, gt=0)
    """Bound of a host's cache of fetched artifacts."""
    data_cache_bytes: int = Field(default=50 * 2**30, gt=0)
    """Bound of a host's copies of data sets that do not lie on its disks: read from S3, unpacked from uploads."""

    # Jobs
    lease_seconds: float = Field(default=60.0, gt=0)
    """A claimed run belongs to its worker this long after the last heartbeat."""
    heartbeat_seconds: float = Field(default=10.0, gt=0)
    """Between two renewals of a lease."""
    control_poll_seconds: float = Field(default=1.0, gt=0)
    """Between two looks of a runner at what is wanted of its run."""
    self_poll_seconds: float = Field(default=15.0, gt=0)
    """Between two looks of an idle worker at the queue without any wake-up."""
    stall_seconds: float = Field(default=300.0, gt=0)
    """A worker that leaves a run it could take untouched this long ends with an error, to be started anew."""
    grace_seconds: float = Field(default=120.0, ge=0)
    """Between SIGTERM and SIGKILL of a job."""
    idle_seconds: float = Field(default=1800.0, gt=0)
    """A job that says nothing for this long has hung: it is ended, and tried again."""
    shutdown_seconds: float = Field(default=25.0, gt=0)
    """From SIGTERM of a worker until its last process is gone; its jobs have the first part of it to save."""
    log_bytes: int = Field(default=64 * 2**20, ge=4 * 2**20)
    """Kept of what one attempt prints: of a longer log the beginning and the end."""
    max_extraction_bytes: int = Field(default=100 * 2**30, gt=0)
    """Most bytes of features that one extraction may write; one that would take more is refused with its estimate."""

    # What is kept, and for how long
    keep_best: int = Field(default=1, ge=0)
    """Checkpoints kept of a run: the best by its monitor; a run may say otherwise."""
    keep_latest: int = Field(default=2, ge=1)
    """Checkpoints kept of a run: the newest."""
    keep_every_epochs: float = Field(default=0.0, ge=0)
    """Checkpoints kept of a run: the first of every so many epochs; 0: none."""
    orphan_hours: float = Field(default=24.0, ge=1)
    """What is in the artifact store and in no table is deleted when it is older than this."""

    # Uploads
    max_upload_bytes: int = Field(default=20 * 2**30, gt=0)
    """Largest upload, in bytes; a larger one is refused when it is announced."""
    max_unpacked_bytes: int = Field(default=100 * 2**30, gt=0)
    """Most bytes that an uploaded archive may hold unpacked."""
    upload_hours: float = Field(default=48.0, gt=0)
    """After this long without its last byte an upload is given up."""

    @field_validator("dataset_roots", mode="before")
    @classmethod
    def _split_roots(cls, value: Any) -> Any:
        return split(value, ":")

    @field_validator("serve_gpus", "webhook_networks", mode="before")
    @classmethod
    def _split_list(cls, value: Any) -> Any:
        return split(value, ",")

    @field_validator("serve_warm_sizes", mode="before")
    @classmethod
    def _split_sizes(cls, value: Any) -> Any:
        return tuple(part.split("x") for part in split(value, ",")) if isinstance(value, str) else value

    @field_validator("data_dir", "bootstrap_token_file", mode="after")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

    @field_validator("dataset_roots", mode="after")
    @classmethod
    def _absolute_roots(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        # Now, because services change their working folder.
        return tuple(root if "://" in root else str(Path(root).expanduser().absolute()) for root in value)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, NamedFiles(settings_cls)

    @property
    def embedded(self) -> bool:
        """Whether database and broker both live in the data folder: one machine, one service."""
        return self.database_url is None and self.broker_url is None

    @property
    def resolved_database_url(self) -> str:
        """The SQLAlchemy URL; PostgreSQL always through psycopg 3."""
        if self.database_url is None:
            return f"sqlite:///{self.data_dir / 'detco.sqlite3'}"
        scheme, _, rest = self.database_url.partition("://")
        return f"postgresql+psycopg://{rest}" if scheme in ("postgres", "postgresql") else self.database_url

    @property
    def resolved_broker_url(self) -> str:
        return self.broker_url or "filesystem://"

    @property
    def resolved_store_url(self) -> str:
        return self.store_url or f"file://{self.data_dir / 'artifacts'}"

    @property
    def resolved_dataset_roots(self) -> tuple[str, ...]:
        """The allowed roots, symlinks followed."""
        roots = self.dataset_roots or (str(Path.home()),)
        return tuple(
            root.rstrip("/") if root.startswith("s3://") else str(Path(root).expanduser().resolve()) for root in roots
        )

    @property
    def token_file(self) -> Path:
        return self.bootstrap_token_file or self.data_dir / "token"

    @property
    def keep_policy(self) -> Policy:
        """What is kept of a run that does not say otherwise."""
        return Policy(best=self.keep_best, latest=self.keep_latest, every_epochs=self.keep_every_epochs)

    @property
    def work_dir(self) -> Path:
        """Attempt folders of this host."""
        return self.data_dir / "work"


def load_settings(**overrides: Any) -> Settings:
    """Read the environment; `overrides` (None left out) come first, as command line options do.

    Raises:
        SettingsError: naming every setting that is wrong, or the data set roots missing outside embedded mode.
    """
    try:
        settings = Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        faults = (f"{PREFIX}{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
        raise SettingsError("; ".join(faults)) from error
    if not settings.embedded and not settings.dataset_roots:
        raise SettingsError("set DETCO_DATASET_ROOTS to the folders data sets may lie in, separated by ':'")
    return settings
