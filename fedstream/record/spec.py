"""RunSpec: the one document that defines a run, validated on entry. Does not know Kafka, S3 or TensorFlow."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from fedstream.errors import SpecError
from fedstream.record.clipping import Clipping
from fedstream.record.combinations import why_not_together
from fedstream.record.document import Document
from fedstream.record.documents import LEFT_OUT
from fedstream.record.exchange import Exchange
from fedstream.record.feed_spec import FeedSpec
from fedstream.record.form import Entry
from fedstream.record.form_values import explained, parse_form
from fedstream.record.names import NAME, NAME_RULE, TOPIC
from fedstream.record.operational import OPERATIONAL, identity, with_operational
from fedstream.record.placement import BESIDE_PLACEMENTS, Placement, Site, with_placement
from fedstream.record.preprocessing import Preprocessing
from fedstream.record.privacy import Privacy
from fedstream.record.statistics import Statistics


class RunSpec(Document):
    """Everything that a model owner decides about a run. Each field is an entry of the form (fedstream.record.form)."""

    run: Annotated[str, Entry("who", flag="--name")] = Field(
        pattern=f"^{NAME}$",
        description="Name of the run. A run that is submitted again under the same name continues where it stopped.",
    )
    model: Annotated[str, Entry("who")] = Field(
        pattern=f"^(builtin:)?{NAME}$",
        description="Name of an added model, or builtin:digits-mlp, builtin:mnist-2nn or builtin:mnist-cnn.",
    )
    purpose: Annotated[str, Entry("who")] = Field(
        "",
        max_length=500,
        description="What the model is for, in a sentence or two. It appears in the report and the model card.",
    )
    clients: Annotated[list[str], Entry("who")] = Field(
        [], description="Clients to ask; empty for all clients whose announcements match."
    )
    client_fraction: Annotated[float, Entry("who")] = Field(
        1.0, gt=0, le=1, description="Fraction of the clients to ask in each round, above 0 and up to 1."
    )
    min_clients: Annotated[int, Entry("who")] = Field(
        0,
        ge=0,
        description="Quorum: number of accepted updates that a round needs; "
        "0 for every client that is asked if clients are named, otherwise for 1.",
    )
    evaluation_topic: Annotated[str, Entry("data")] = Field(
        "",
        description="Labelled records to measure each global model on: a topic, or offsets such as topic:0:0:360; "
        "empty for federated evaluation.",
    )
    data_restriction: Annotated[dict[str, Any], Entry("data", within="data_options")] = Field(
        {}, description="Must equal the restrictions of an announcement; {} for streams without any."
    )
    slices: Annotated[Literal["newest", "all"], Entry("data", within="data_options")] = Field(
        "newest",
        description="Which announcements of a client count: newest for only the latest one, all for all of them.",
    )
    own_topics: Annotated[bool, Entry("data", within="data_options")] = Field(
        False,
        description="Accept only announcements of topics whose names begin with the client's name and a dot, "
        "as the access rules of a secured broker enforce.",
    )
    min_data: Annotated[int, Entry("data", within="data_options")] = Field(
        1, ge=1, description="Minimum number of records that a client must have announced."
    )
    max_skipped: Annotated[int, Entry("data", within="data_options")] = Field(
        0,
        ge=0,
        le=LEFT_OUT,
        exclude_if=lambda most: most == 0,
        description="Maximum number of a client's records to leave out because they cannot be read as announced; "
        "0 to refuse the client instead. The slice names each of them.",
    )
    validation_rate: Annotated[float, Entry("data", within="data_options")] = Field(
        0.1, ge=0, lt=1, description="Fraction of the records to hold out at clients whose announcement sets none."
    )
    preprocessing: Annotated[Preprocessing, Entry("data", within="data_options")] = Field(
        Preprocessing(),
        exclude_if=lambda preprocessing: preprocessing == Preprocessing(),
        description="What happens to records before they reach the model, such as "
        '{"steps": [{"step": "standardise"}]}; see docs/preprocessing.md.',
    )
    statistics: Annotated[Statistics, Entry("data", within="data_options")] = Field(
        Statistics(),
        exclude_if=lambda statistics: statistics == Statistics(),
        description='Statistics of the clients\' records before the first round, such as {"gather": true}; see '
        "docs/statistics.md.",
    )
    feed: Annotated[FeedSpec, Entry("data", within="data_options")] = Field(
        FeedSpec(),
        exclude_if=lambda feed: feed == FeedSpec(),
        description="Which records a client trains on in a round: all that it announced, or what is new, such as "
        '{"kind": "new", "at_least": 100, "at_most": 5000, "timeout_s": 60}; see docs/live.md.',
    )
    epochs: Annotated[int, Entry("training")] = Field(
        1, ge=1, le=10_000, description="Passes over a client's records in a round."
    )
    batch_size: Annotated[int, Entry("training")] = Field(
        32, ge=1, le=1_000_000, description="Records in one optimizer step."
    )
    learning_rate: Annotated[float, Entry("training")] = Field(
        0.0,
        ge=0,
        description="Learning rate of the clients' optimizer; 0 for the rate that the model was compiled with.",
    )
    mixed_precision: Annotated[bool, Entry("training", within="training_options")] = Field(
        False,
        description="Train in half precision: float16 on GPUs, bfloat16 on processors. "
        "Weights and measurements stay float32.",
    )
    seed: Annotated[int, Entry("training")] = Field(
        0, ge=0, lt=2**31, description="Seed for client selection, splits and shuffles."
    )
    threads: Annotated[int, Entry("training", within="training_options")] = Field(
        2, ge=1, le=256, description="TensorFlow threads per training. Their number affects the digests."
    )
    stream_above_mib: Annotated[int, Entry("training", within="training_options"), OPERATIONAL] = Field(
        0,
        ge=0,
        le=2**22,
        exclude_if=lambda mib: mib == 0,
        description="MiB of a client's records above which each pass reads them anew from Kafka instead of holding "
        "them in memory; 0 for an eighth of the memory. No digest depends on it.",
    )
    baseline: Annotated[bool, Entry("training", within="training_options")] = Field(
        False,
        description="Also train each client alone, once, for comparison in the report. "
        "This takes as long as the client's part of the run.",
    )
    unsupervised: Annotated[bool, Entry("training", within="training_options")] = Field(
        False,
        exclude_if=lambda asked: not asked,
        description="Also train on the records without labels that clients announce (unsupervised_topic), "
        "labelled by the model's confident predictions.",
    )
    unsupervised_rounds: Annotated[int, Entry("training", within="training_options")] = Field(
        5,
        exclude_if=lambda rounds: rounds == 5,
        ge=1,
        le=100,
        description="With unsupervised, how often at most a client labels them anew in a round.",
    )
    confidence: Annotated[float, Entry("training", within="training_options")] = Field(
        0.9,
        exclude_if=lambda confidence: confidence == 0.9,
        ge=0.5,
        le=1,
        description="With unsupervised, the probability from which a prediction counts as a label, from 0.5 to 1.",
    )
    strategy: Annotated[str, Entry("aggregation")] = Field(
        "FedAvg",
        max_length=100,
        description="How updates become the next global model. `fedstream strategies` lists the strategies.",
    )
    strategy_config: Annotated[dict[str, Any], Entry("aggregation")] = Field(
        {},
        description='Parameters of the strategy, such as {"server_learning_rate": 0.05} for FedAdam; '
        "parameters that are left out keep their defaults.",
    )
    outlier_bound: Annotated[float, Entry("aggregation", within="aggregation_options")] = Field(
        10.0,
        ge=0,
        description="With three or more updates, reject each whose norm exceeds this multiple of the round's median; "
        "0 to reject none.",
    )
    leave_one_out: Annotated[bool, Entry("aggregation", within="aggregation_options")] = Field(
        False,
        description="Also measure what each round's model would be without each client's update, on the evaluation "
        "topic. This takes one evaluation for each client.",
    )
    clipping: Annotated[Clipping, Entry("aggregation", within="aggregation_options")] = Field(
        Clipping(), description='Limits of a client\'s change, such as {"norm": 1.0}; see docs/strategies.md.'
    )
    exchange: Annotated[Exchange, Entry("aggregation", within="aggregation_options")] = Field(
        Exchange(), description='What travels, such as {"compression": "int8"}; see docs/exchange.md.'
    )
    privacy: Annotated[Privacy, Entry("aggregation", within="aggregation_options")] = Field(
        Privacy(),
        description="Differential privacy, such as "
        '{"where": "central", "noise_multiplier": 1, "delta": 0.00001, "max_epsilon": 8}; see docs/privacy.md.',
    )
    rounds: Annotated[int, Entry("stopping")] = Field(
        15, ge=1, le=10_000, description="Total number of training rounds. It can grow when a run is submitted again."
    )
    target_metric: Annotated[str, Entry("stopping")] = Field(
        "accuracy", description="Metric that decides on the target, patience and the best model."
    )
    target_value: Annotated[float, Entry("stopping")] = Field(
        0.0, ge=0, description="The run stops when the metric reaches this value; 0 for no target."
    )
    patience: Annotated[int, Entry("stopping")] = Field(
        0, ge=0, description="The run stops after this many measurements without improvement; 0 to never stop early."
    )
    publish: Annotated[Literal["always", "if-better", "never"], Entry("stopping")] = Field(
        "always",
        description="Whether a finished run becomes a version of the model: always, if-better than the newest version, "
        "or never.",
    )
    indefinite: Annotated[bool, Entry("stopping", within="stopping_options")] = Field(
        False,
        exclude_if=lambda indefinite: not indefinite,
        description="Go on for as long as new records come. Each submission runs up to `rounds` more rounds, and "
        "publishes a version if the target metric has moved.",
    )
    change: Annotated[Literal["auto", "up", "down"], Entry("stopping", within="stopping_options")] = Field(
        "auto",
        exclude_if=lambda change: change == "auto",
        description="Direction in which the target metric of an indefinite run has to move: up, down, or auto for up "
        "if it is a score and down if it is a loss.",
    )
    improvement: Annotated[float, Entry("stopping", within="stopping_options")] = Field(
        0.05,
        gt=0,
        exclude_if=lambda improvement: improvement == 0.05,
        description="How far the target metric of an indefinite run has to move for a new version.",
    )
    round_deadline_s: Annotated[float, Entry("where it runs", flag="--round-deadline"), OPERATIONAL] = Field(
        600.0, gt=0, le=7 * 86_400, description="Seconds that a client has to wait for its data, and again to train."
    )
    placement: Annotated[Placement, Entry("where it runs"), OPERATIONAL] = Field(
        Placement(),
        description='Where clients train, such as {"node_selector": {"gpu": "h100"}, "gpu_type": "nvidia.com/gpu", '
        '"gpu_count": 1}; see docs/gpu.md.',
    )
    sites: Annotated[dict[str, Site], Entry("where it runs")] = Field(
        {},
        description='Differences per client, such as {"a": {"bootstrap_servers": "a:1", "store_secret": "a", '
        '"placement": {"node_selector": {"site": "a"}}}}.',
    )

    @model_validator(mode="before")
    @classmethod
    def _gpus_belong_to_placements(cls, values: Any) -> Any:
        """Read an older spec, in which these fields stood beside the placements and applied to all of them."""
        if not isinstance(values, dict) or not (
            beside := {name: values[name] for name in BESIDE_PLACEMENTS if name in values}
        ):
            return values
        rest = {name: value for name, value in values.items() if name not in beside}
        if isinstance(sites := rest.get("sites"), dict):
            rest["sites"] = {client: with_placement(beside, site) for client, site in sites.items()}
        return with_placement(beside, rest, default={})

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
            raise ValueError(f"client name {wrong[0]!r} is not valid; {NAME_RULE}")
        if duplicates := sorted({client for client in clients if clients.count(client) > 1}):
            raise ValueError(f"client {duplicates[0]!r} is named twice")
        return sorted(clients)

    @model_validator(mode="after")
    def _values_go_together(self) -> RunSpec:
        if reason := why_not_together(self):
            raise ValueError(reason)
        return self

    @property
    def gathers_statistics(self) -> bool:
        """Whether the clients send statistics before the first round."""
        return self.statistics.gather or self.preprocessing.standardises

    @property
    def federated_evaluation(self) -> bool:
        """Whether the clients measure the model that they receive, because the run has no evaluation topic."""
        return not self.evaluation_topic

    @property
    def bootstrap_servers(self) -> list[str]:
        """Addresses of all brokers that hold announcements; an empty string stands for the default address."""
        return sorted({"", *(site.bootstrap_servers for site in self.sites.values())})

    def bootstrap_of(self, client: str) -> str:
        return self.sites[client].bootstrap_servers if client in self.sites else ""

    def store_secret_of(self, client: str) -> str:
        """Return the store secret that a client's site names, or an empty string."""
        return self.sites[client].store_secret if client in self.sites else ""

    def placement_of(self, client: str) -> Placement:
        site = self.sites.get(client)
        return site.placement if site and site.placement else self.placement


def parse_spec(values: dict[str, Any]) -> RunSpec:
    """Validate form values, which are fields of RunSpec or parameters of the pipeline.

    Raises:
        SpecError: a field is wrong. One line names each wrong field, the given value and what is expected.
    """
    return parse_form(RunSpec, values)


def carried_out(spec: RunSpec, values: dict[str, Any]) -> RunSpec:
    """Return the spec of a run with the operational values of a later submission.

    Raises:
        SpecError: a value is not operational or does not fit the run.
    """
    try:
        new = with_operational(spec, values)
    except ValidationError as error:
        raise SpecError(explained(error)) from error
    before, after = identity(spec), identity(new)
    if changed := [name for name in before if before[name] != after[name]]:
        raise SpecError(f"it changes {changed[0]} beyond what is operational")
    return new


def changed_field(old: RunSpec, new: RunSpec) -> str:
    """Name the first field that prevents `new` from continuing `old`, with both values; empty if `new` can continue.

    Operational values can differ.
    """
    before, after = identity(old), identity(new)
    for name in before:
        if before[name] != after[name] and not (name == "rounds" and new.rounds > old.rounds):
            return f"{name} was {before[name]!r} and is now {after[name]!r}" + (
                " (it may only grow)" if name == "rounds" else ""
            )
    return ""
