"""RunSpec: the one document that defines a run, validated at the door. Knows no Kafka, no S3, no TensorFlow."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fedstream.errors import SpecError, UsageError

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
"""Names of runs, models and clients: they become object keys, loop ids and file names."""

MODEL_NAME = f"(builtin:)?{NAME}"
"""Names of models, those that are built in too."""

DIGEST = "^[0-9a-f]{64}$"
"""SHA-256 in hexadecimal digits."""

LAYOUT = 1
"""Of a run's objects and documents; it grows when an older reader would misread a newer run."""

TOPIC = r"[A-Za-z0-9._-]{1,249}"
"""Kafka's rule for topic names."""

NAME_RULE = "use letters, digits, '.', '_' and '-', at most 63"


MOST_NAMES = 1_000
"""Columns, or classes, that are named: all owners' names stand in the run's record."""

LONGEST_NAME = 100
"""Characters of one of them."""


def invalid_names(names: Sequence[str]) -> str:
    """Return why columns or classes cannot have these names, or an empty string."""
    if len(names) > MOST_NAMES:
        return f"{len(names)} names are too many, at most {MOST_NAMES} can be kept"
    for name in names:
        if not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
            return f"{name[:LONGEST_NAME]!r} cannot be a name; use 1 to {LONGEST_NAME} printable characters"
    if len(set(names)) < len(names):
        return f"the name {Counter(names).most_common(1)[0][0]!r} is there twice"
    return ""


def check_name(what: str, name: str, pattern: str = NAME) -> str:
    """Return a name that somebody typed, if it can be one: it becomes part of object keys and file names.

    Raises:
        UsageError: it cannot.
    """
    if not re.fullmatch(pattern, name):
        raise UsageError(f"{what} {name[:100]!r} is no name; {NAME_RULE}, beginning with a letter or digit")
    return name


class Part(BaseModel):
    """Frozen, strict about unknown fields and about NaN and infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Placement(Part):
    """Where a client's training runs.

    Attributes:
        node_selector: Kubernetes node labels, all of which must match.
        tolerations: Kubernetes tolerations, as in a pod's YAML.
        gpu_type: resource name such as `nvidia.com/gpu`; empty for none.
        gpu_count: how many of them; of shared memory, in the unit its device plugin counts.
    """

    node_selector: dict[str, str] = {}
    tolerations: list[dict[str, Any]] = []
    gpu_type: str = ""
    gpu_count: int = Field(default=0, ge=0, le=1_000_000)

    @model_validator(mode="after")
    def _gpu_is_whole(self) -> Placement:
        if bool(self.gpu_type) != bool(self.gpu_count):
            raise ValueError(f"gpu_type is {self.gpu_type!r} and gpu_count is {self.gpu_count}; set both or neither")
        return self


class Site(Part):
    """What differs from the run's defaults at one client.

    Attributes:
        bootstrap_servers: the client's own brokers; empty for the default ones.
        placement: where its training runs; absent for the run's default.
        store_secret: Kubernetes secret with the key that its training pods use for the store; empty for that of all clients.
    """

    bootstrap_servers: str = ""
    placement: Placement | None = None
    store_secret: str = Field(default="", max_length=253, pattern=r"^([a-z0-9]([a-z0-9.-]*[a-z0-9])?)?$")


class RunSpec(Part):
    """Everything a model owner decides about a run. The descriptions are those of the form and of `fedstream run --help`."""

    run: str = Field(pattern=f"^{NAME}$", description="Name of the run; submitted again with the same name, a run goes on where it stopped.")
    model: str = Field(
        pattern=f"^(builtin:)?{NAME}$", description="Name of an added model, or builtin:digits-mlp, builtin:mnist-2nn, builtin:mnist-cnn."
    )
    purpose: str = Field("", max_length=500, description="What the model is for, in a sentence or two; stands in the report and in the model card.")
    clients: list[str] = Field([], description="Clients to ask; empty for all whose announcements match.")
    evaluation_topic: str = Field(
        "",
        description="Labelled records to measure each global model on: a topic, or offsets as topic:0:0:360; empty for federated evaluation.",
    )
    data_restriction: dict[str, Any] = Field({}, description="Must equal the restrictions of an announcement; {} for streams without any.")
    slices: Literal["newest", "all"] = Field(
        "newest", description="Which announcements of a client count: newest for the last one alone, all for all together."
    )
    own_topics: bool = Field(
        False,
        description="Accept only announcements of topics that begin with the client's name and a dot, as a secured broker's rights enforce.",
    )
    min_data: int = Field(1, ge=1, description="Records a client must have announced.")
    validation_rate: float = Field(0.1, ge=0, lt=1, description="Part of the records held out at clients whose announcement names none.")
    rounds: int = Field(15, ge=1, le=10_000, description="Training rounds in all; the one value that may grow when a run is submitted again.")
    client_fraction: float = Field(1.0, gt=0, le=1, description="Part of the clients asked in each round, above 0 and up to 1.")
    min_clients: int = Field(
        0, ge=0, description="Quorum: accepted updates that a round needs; 0 for all that are asked where clients are named, else for 1."
    )
    strategy: Literal["FedAvg"] = Field("FedAvg", description="How updates become the next global model.")
    outlier_bound: float = Field(
        10.0, ge=0, description="From three updates up, reject one whose norm exceeds the round's median this many times; 0 to reject none."
    )
    epochs: int = Field(1, ge=1, le=10_000, description="Passes over a client's records in a round.")
    batch_size: int = Field(32, ge=1, le=1_000_000, description="Records in one optimizer step.")
    learning_rate: float = Field(0.0, ge=0, description="Of the clients' optimizer; 0 for the one the model was compiled with.")
    mixed_precision: bool = Field(
        False, description="Train in half precision: float16 on GPUs, bfloat16 on processors. Weights and measurements stay float32."
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Of client selection, splits and shuffles.")
    threads: int = Field(2, ge=1, le=256, description="TensorFlow threads of a training; part of what makes a digest.")
    target_metric: str = Field("accuracy", description="Metric watched for the target, patience and the best model.")
    target_value: float = Field(0.0, ge=0, description="The run stops when the metric reaches it; 0 for no target.")
    patience: int = Field(0, ge=0, description="The run stops after this many measurements without improvement; 0 for never.")
    baseline: bool = Field(
        False, description="Also train each client alone, once, for comparison in the report; takes as long as its part of the run."
    )
    publish: Literal["always", "if-better", "never"] = Field(
        "always", description="Whether a finished run becomes a version of the model: always, if-better than the newest one, or never."
    )
    round_deadline_s: float = Field(600.0, gt=0, le=7 * 86_400, description="Seconds a client may wait for its data, and again train.")
    placement: Placement = Field(
        Placement(), description='Default placement, as {"node_selector": {}, "tolerations": [], "gpu_type": "nvidia.com/gpu", "gpu_count": 1}.'
    )
    sites: dict[str, Site] = Field(
        {},
        description='What differs per client, as {"a": {"bootstrap_servers": "a:1", "store_secret": "a", '
        '"placement": {"node_selector": {"site": "a"}}}}.',
    )
    cpu_fallback: bool = Field(False, description="Train on the processor at clients that ask for a GPU and find none, instead of leaving them out.")
    gpu_memory_mib: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="Most memory a training takes on each GPU, in MiB, where pods share one; 0 to take more as it is needed.",
    )

    @field_validator("evaluation_topic")
    @classmethod
    def _evaluation_topic_is_topic_or_offsets(cls, text: str) -> str:
        if text and not re.fullmatch(rf"{TOPIC}|{TOPIC}(:\d{{1,18}}){{3}}(,{TOPIC}(:\d{{1,18}}){{3}}){{0,99}}", text):
            raise ValueError("is neither a topic nor offsets as topic:partition:start:end")
        return text

    @field_validator("clients")
    @classmethod
    def _clients_have_names_of_their_own(cls, clients: list[str]) -> list[str]:
        if wrong := [client for client in clients if not re.fullmatch(NAME, client)]:
            raise ValueError(f"client name {wrong[0]!r} cannot be; {NAME_RULE}")
        if duplicates := sorted({client for client in clients if clients.count(client) > 1}):
            raise ValueError(f"client {duplicates[0]!r} is named twice")
        return sorted(clients)

    @model_validator(mode="after")
    def _quorum_is_reachable(self) -> RunSpec:
        if self.clients and self.min_clients > len(self.clients):
            raise ValueError(f"min_clients is {self.min_clients}, but only {len(self.clients)} clients are named")
        if strangers := sorted(self.sites.keys() - set(self.clients)) if self.clients else []:
            raise ValueError(f"sites names {strangers[0]!r}, which is not among the clients")
        return self

    @property
    def federated_evaluation(self) -> bool:
        """Whether the clients measure the model they receive, for want of an evaluation topic."""
        return not self.evaluation_topic

    @property
    def bootstrap_servers(self) -> list[str]:
        """Addresses of all brokers with announcements; an empty string stands for the default one."""
        return sorted({"", *(site.bootstrap_servers for site in self.sites.values())})

    def bootstrap_of(self, client: str) -> str:
        return self.sites[client].bootstrap_servers if client in self.sites else ""

    def store_secret_of(self, client: str) -> str:
        """Return the secret that a client's site names for the store, or an empty string."""
        return self.sites[client].store_secret if client in self.sites else ""

    def placement_of(self, client: str) -> Placement:
        site = self.sites.get(client)
        return site.placement if site and site.placement else self.placement


class MatchedClient(Part):
    """A client that takes part, with what it announced.

    Attributes:
        client: its name.
        bootstrap_servers: its brokers; empty for the default ones.
        ranges: `topic:partition:start:end[,...]`, as announced.
        input_config: the codec's configuration, as announced.
        held_out_rate: part of its records that is never trained on, in [0, 1).
        records: how many it announced.
        features: names of its columns, in its order; empty where it announced none.
        classes: names of its classes 0, 1, ...; likewise.
    """

    client: str = Field(pattern=f"^{NAME}$")
    bootstrap_servers: str
    ranges: str
    input_config: dict[str, Any]
    held_out_rate: float = Field(ge=0, lt=1)
    records: int = Field(ge=1)
    features: list[str] = []
    classes: list[str] = []


class AnnouncementRow(Part):
    """What became of one announcement: it takes part, or why not.

    Attributes:
        related: whether it has to do with the run; false for one of a client that the run does not ask for.
    """

    bootstrap_servers: str
    partition: int
    offset: int
    client: str
    accepted: bool
    related: bool = True
    reason: str


class ModelReference(Part):
    """The initial model a run starts from: its name, and the SHA-256 of its three objects.

    Attributes:
        description_digest: of its description, the .json beside the .keras file.
    """

    name: str = Field(pattern=f"^{MODEL_NAME}$")
    keras_digest: str = Field(pattern=DIGEST)
    weights_digest: str = Field(pattern=DIGEST)
    description_digest: str = Field(pattern=DIGEST)


class RunRecord(Part):
    """spec.json: the spec, and what it was matched with when the run was planned. Written once.

    Attributes:
        layout: of the run's objects and documents.
        spec: as submitted first.
        model: the initial model.
        clients: those that take part, sorted by name.
        evaluation: the evaluation topic's announcement, if there is one.
        announcements: every announcement that was read, and why it takes part or not.
        features: names of the columns, in the order in which the model takes them; empty where neither model nor client names any.
        classes: names of the classes 0, 1, ...; likewise.
    """

    layout: int = LAYOUT
    spec: RunSpec
    model: ModelReference
    clients: list[MatchedClient]
    evaluation: MatchedClient | None
    announcements: list[AnnouncementRow]
    features: list[str] = []
    classes: list[str] = []

    @field_validator("layout")
    @classmethod
    def _layout_can_be_read(cls, layout: int) -> int:
        if layout != LAYOUT:
            raise ValueError(f"it has layout {layout}, and this version of fedstream reads layout {LAYOUT}; use the version that wrote it")
        return layout

    @model_validator(mode="after")
    def _evaluation_is_the_spec_s(self) -> RunRecord:
        if (self.evaluation is None) != self.spec.federated_evaluation:
            raise ValueError(f"evaluation_topic is {self.spec.evaluation_topic!r}, but it has {'an' if self.evaluation else 'no'} evaluation")
        return self

    def client(self, name: str) -> MatchedClient:
        for matched in self.clients:
            if matched.client == name:
                return matched
        raise SpecError(f"run {self.spec.run!r} has no client {name!r}; it has {', '.join(c.client for c in self.clients)}")


def parse_spec(values: dict[str, Any]) -> RunSpec:
    """Validate form values.

    Raises:
        SpecError: one line that names each wrong field, what was given, and what is expected.
    """
    try:
        return RunSpec.model_validate(values)
    except ValidationError as error:
        raise SpecError("; ".join(_explain(problem) for problem in error.errors())) from error


def _explain(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    what = NAME_RULE if problem["type"] == "string_pattern_mismatch" else problem["msg"].removeprefix("Value error, ")
    if not where or problem["type"] == "missing":
        return f"{where}: {what}" if where else what
    return f"{where}: {what} (given: {problem['input']!r})"


def changed_field(old: RunSpec, new: RunSpec) -> str:
    """Name the first field that keeps `new` from continuing `old`, with both values; empty if it may go on."""
    for name in RunSpec.model_fields:
        before, after = getattr(old, name), getattr(new, name)
        if before != after and not (name == "rounds" and after > before):
            return f"{name} was {before!r} and is now {after!r}" + (" (it may only grow)" if name == "rounds" else "")
    return ""


def client_seed(seed: int, round: int, client: str) -> int:
    """Return the seed of a client's work in a round, in [0, 2**31)."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{round}/{client}".encode()).digest()[:4], "big") >> 1


def select(spec: RunSpec, round: int, clients: list[str]) -> list[str]:
    """Return the clients asked in a round: a pure function of the seed and the round, at least the quorum, sorted."""
    drawn = sorted(clients, key=lambda client: hashlib.sha256(f"{spec.seed}/{round}/select/{client}".encode()).digest())
    return sorted(drawn[: clients_asked(spec, len(clients))])


def clients_asked(spec: RunSpec, clients: int) -> int:
    """Return how many of the clients each round asks: the fraction, halves rounded up, and at least the quorum."""
    return min(clients, max(spec.min_clients, int(spec.client_fraction * clients + 0.5), 1))


def quorum(spec: RunSpec, asked: int) -> int:
    """Return how many accepted updates a round of `asked` clients needs: clients that are named are all needed unless the spec says otherwise."""
    return spec.min_clients or (asked if spec.clients else 1)
