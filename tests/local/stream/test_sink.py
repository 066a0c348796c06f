import inspect
import json

import numpy as np
import pytest

from fedstream.errors import AnnouncementError, RecordError, TopicError, UsageError
from fedstream.record.format import StreamFormat
from fedstream.settings import KafkaSettings
from fedstream.stream import FederatedAvroSink, FederatedJsonSink, FederatedRawSink, OnlineFederatedRawSink, writer
from fedstream.stream.announcement import DataAnnouncement, parse_data_announcement
from fedstream.stream.codec import get_codec
from fedstream.stream.control import read_announcements
from fedstream.stream.reader import read_ranges, topic_bounds
from fedstream.stream.send import create_topic, send_dataset
from fedstream.stream.sink import Sink
from fedstream.stream.writer import RecordWriter

X = np.random.default_rng(0).integers(0, 255, (40, 4, 4), dtype=np.uint8)
Y = (np.arange(40) % 10).astype(np.uint8)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FEDSTREAM_CLIENT", raising=False)


def heard(kafka: KafkaSettings, control_topic: str) -> list[DataAnnouncement]:
    return [parse_data_announcement(data) for _, _, data in read_announcements(kafka, control_topic, 20)]


def check_content(kafka: KafkaSettings, said: DataAnnouncement, x: np.ndarray, y: np.ndarray) -> None:
    """The announced records are x and y, in any order."""
    got_x, got_y = get_codec(said.format).decode_records(read_ranges(kafka, said.ranges, 20))
    assert sorted(zip(map(bytes, got_x), got_y, strict=True)) == sorted(zip(map(bytes, x), y, strict=True))
    assert (got_x.shape, got_x.dtype, got_y.dtype) == (x.shape, x.dtype, y.dtype)


@pytest.mark.parametrize(
    ("sink", "rates"),
    [(FederatedRawSink, "validation_rate=0, test_rate=0"), (OnlineFederatedRawSink, "validation_rate=0")],
)
def test_the_signatures_are_kafka_mls(sink: type[Sink], rates: str) -> None:
    expected = (
        "(self, boostrap_servers, topic, deployment_id, data_type=None, label_type=None, description='', "
        "dataset_restrictions='{}', "
        f"data_reshape=None, label_reshape=None, {rates}, "
        "control_topic='FEDERATED_DATA_CONTROL_TOPIC', group_id='sink', unsupervised_topic=None)"
    )
    signature = inspect.signature(sink.__init__)
    known = [
        parameter
        for parameter in signature.parameters.values()
        if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    ]
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in known]
    assert str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty)) == expected


def test_a_kafka_ml_script_is_announced_as_kafka_ml_would(kafka: KafkaSettings, topic: str) -> None:
    control = f"{topic}-control"
    sink = FederatedRawSink(
        boostrap_servers=kafka.bootstrap_servers,
        topic=topic,
        deployment_id=1,
        description="Mnist dataset",
        dataset_restrictions=json.dumps({"a": 1}),
        validation_rate=0.1,
        test_rate=0,
        control_topic=control,
    )
    for x, y in zip(X, Y, strict=True):
        sink.send(data=x, label=y)
    assert heard(kafka, control) == []
    sink.close()
    [said] = heard(kafka, control)
    assert said.topic == f"{topic}:0:0:40"
    assert said.input_config == {
        "data_type": "uint8",
        "label_type": "uint8",
        "data_reshape": "4 4",
        "label_reshape": "1",
    }
    assert (said.total_msg, said.validation_rate, said.test_rate, said.description) == (40, 0.1, 0, "Mnist dataset")
    assert (said.restrictions, said.incremental, said.unsupervised_topic) == ({"a": 1}, False, None)
    assert (said.client, said.bootstrap_servers) == (topic, kafka.bootstrap_servers)
    check_content(kafka, said, X, Y)


def test_only_the_sinks_own_records_are_announced(
    kafka: KafkaSettings, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "PENDING", 8)
    create_topic(kafka, topic, 3)
    control, stranger = f"{topic}-control", RecordWriter(kafka)
    sink = FederatedRawSink(kafka.bootstrap_servers, topic, 1, control_topic=control)
    for number, (x, y) in enumerate(zip(X, Y, strict=True)):
        if number % 7 == 3:
            stranger.write(topic, b"another producer's", bytes([number]))
            stranger.flush()
        sink.send(x, y)
    stranger.close()
    sink.close()
    [said] = heard(kafka, control)
    bounds = topic_bounds(kafka, topic)
    assert sum(end for _, end in bounds.values()) == 46
    assert said.total_msg == 40
    check_content(kafka, said, X, Y)


def test_records_without_labels_have_their_own_ranges(kafka: KafkaSettings, topic: str) -> None:
    control, unlabelled = f"{topic}-control", f"{topic}-unlabelled"
    sink = FederatedRawSink(kafka.bootstrap_servers, topic, 1, control_topic=control, unsupervised_topic=unlabelled)
    sink.unsupervised_send(X[0])
    sink.send(X[1], Y[1])
    sink.unsupervised_send(data=X[2])
    sink.close()
    [said] = heard(kafka, control)
    assert (said.topic, said.unsupervised_topic, said.total_msg) == (f"{topic}:0:0:1", f"{unlabelled}:0:0:2", 1)
    own = DataAnnouncement(topic=said.unsupervised_topic, input_format="RAW", input_config={}).ranges
    records = read_ranges(kafka, own, 20)
    assert (list(records.values), list(records.keys)) == ([X[0].tobytes(), X[2].tobytes()], [b"\0", b"\0"])


def test_given_types_and_shapes_are_kept_and_records_follow_them(
    kafka: KafkaSettings, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDSTREAM_CLIENT", "hospital-a")
    sink = FederatedRawSink(
        [kafka.bootstrap_servers],
        topic,
        1,
        data_type="float32",
        label_type="int64",
        data_reshape="16",
        label_reshape="1",
        control_topic=f"{topic}-control",
    )
    sink.send(X[0].astype(np.float64) / 3, 3)
    sink.close()
    [said] = heard(kafka, f"{topic}-control")
    assert said.client == "hospital-a"
    check_content(kafka, said, (X[:1].reshape(1, 16) / 3).astype(np.float32), np.array([3]))


def test_big_endian_samples_arrive_as_the_numbers_they_are(kafka: KafkaSettings, topic: str) -> None:
    said = send_dataset(kafka, topic, "c", X.astype(">f4"), Y.astype(">i2"))
    got_x, got_y = get_codec(StreamFormat("RAW", said.input_config)).decode_records(read_ranges(kafka, said.ranges, 20))
    np.testing.assert_array_equal(got_x, X.astype(np.float32))
    np.testing.assert_array_equal(got_y, Y)


@pytest.mark.parametrize(
    ("sample", "label", "reason"),
    [
        (X[1, :3], Y[1], "shape"),
        (X[1].astype(np.float32), Y[1], "dtype"),
        (X[1], Y[:2], "shape"),
        (X[1], "cat", "dtype"),
    ],
)
def test_a_record_unlike_the_first_is_refused(
    kafka: KafkaSettings, topic: str, sample: np.ndarray, label: object, reason: str
) -> None:
    sink = FederatedRawSink(kafka.bootstrap_servers, topic, 1, control_topic=f"{topic}-control")
    sink.send(X[0], Y[0])
    with pytest.raises(RecordError, match=reason):
        sink.send(sample, label)
    sink.close()
    assert [said.total_msg for said in heard(kafka, f"{topic}-control")] == [1]


def test_names_are_announced_and_labels_may_be_sent_by_name(kafka: KafkaSettings, topic: str) -> None:
    control = f"{topic}-control"
    sink = FederatedRawSink(
        kafka.bootstrap_servers,
        topic,
        1,
        control_topic=control,
        features=["a", "b"],
        classes=["no", "yes"],
        append=True,
    )
    sink.send(np.array([1.0, 2.0]), "yes")
    sink.send(np.array([3.0, 4.0]), 0)
    with pytest.raises(UsageError, match="label 'maybe' of record 0 is none of the classes 'no', 'yes'"):
        sink.send(np.array([3.0, 4.0]), "maybe")
    sink.close()
    [said] = heard(kafka, control)
    assert (said.features, said.classes, said.append) == (["a", "b"], ["no", "yes"], True)
    check_content(kafka, said, np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1, 0]))


def test_as_many_columns_are_named_as_a_sample_has(kafka: KafkaSettings, topic: str) -> None:
    sink = FederatedRawSink(
        kafka.bootstrap_servers, topic, 1, control_topic=f"{topic}-control", features=["a", "b", "c"]
    )
    with pytest.raises(UsageError, match=r"3 columns are named, but a sample has shape \(2,\)"):
        sink.send(np.zeros(2), 0)
    with pytest.raises(UsageError, match=r"3 columns are named, but a sample has shape \(4, 4\)"):
        send_dataset(kafka, topic, "c", X, Y, features=["a", "b", "c"])
    with pytest.raises(UsageError, match=r"classes are named, but a label has shape \(2,\)"):
        send_dataset(kafka, topic, "c", X, np.zeros((40, 2)), classes=["a", "b"])
    with pytest.raises(UsageError, match="features: the name 'a' is there twice"):
        FederatedRawSink(kafka.bootstrap_servers, topic, 1, features=["a", "a"])


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_what_is_not_finite_is_refused_with_record_and_column(kafka: KafkaSettings, topic: str, value: float) -> None:
    options = {
        "data_type": "float32",
        "control_topic": f"{topic}-control",
        "features": ["age", "bmi"],
        "unsupervised_topic": f"{topic}-u",
    }
    sink = FederatedRawSink(kafka.bootstrap_servers, topic, 1, **options)  # type: ignore[arg-type]
    sink.send(np.zeros(2), 0.0)
    with np.errstate(over="ignore"):
        with pytest.raises(
            RecordError, match=r"the sample of record 1 has (nan|inf) in column 'bmi'; .*allow_nan=True"
        ):
            sink.send(np.array([0.0, value]), 0.0)
        with pytest.raises(RecordError, match=r"the sample of record 0 has (nan|inf) in column 'age'"):
            sink.unsupervised_send(np.array([value, 0.0]))
        if value != 1e300:
            with pytest.raises(RecordError, match=r"the label of record 1 has (nan|inf); "):
                sink.send(np.zeros(2), value)
        sink.close()
        assert [said.total_msg for said in heard(kafka, f"{topic}-control")] == [1]
        allowed = FederatedRawSink(kafka.bootstrap_servers, topic, 1, allow_nan=True, **options)  # type: ignore[arg-type]
        allowed.send(np.array([0.0, value]), 0.0)
        allowed.close()


def test_a_data_set_with_nan_is_refused_before_anything_is_sent(kafka: KafkaSettings, topic: str) -> None:
    x = X.reshape(40, 16).astype(np.float32)
    x[7, 3] = np.nan
    with pytest.raises(RecordError, match=r"the sample of record 7 has nan at index 3 \(1 of 40 records"):
        send_dataset(kafka, topic, "c", x, Y)
    with pytest.raises(RecordError, match=r"the label of record 0 has inf"):
        send_dataset(kafka, topic, "c", X, np.full(40, np.inf))
    with pytest.raises(TopicError):
        topic_bounds(kafka, topic)
    assert send_dataset(kafka, topic, "c", x, Y, allow_nan=True).total_msg == 40


def test_a_closed_sink_says_so(kafka: KafkaSettings, topic: str) -> None:
    sink = FederatedRawSink(
        kafka.bootstrap_servers, topic, 1, control_topic=f"{topic}-control", unsupervised_topic=f"{topic}-u"
    )
    sink.send(X[0], Y[0])
    sink.close()
    for use in (lambda: sink.send(X[0], Y[0]), lambda: sink.unsupervised_send(X[0]), sink.close):
        with pytest.raises(
            UsageError, match=rf"this sink of topic '{topic}' is closed; make a new one, with append=True"
        ):
            use()


def test_what_has_no_fixed_size_is_refused(kafka: KafkaSettings, topic: str) -> None:
    sink = FederatedRawSink(kafka.bootstrap_servers, topic, 1, control_topic=f"{topic}-control")
    with pytest.raises(AnnouncementError, match="data_type"):
        sink.send(object(), 1)
    with pytest.raises(UsageError, match="no record was sent"):
        sink.close()
    assert heard(kafka, f"{topic}-control") == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"validation_rate": 1}, "validation_rate"),
        ({"validation_rate": float("nan")}, "validation_rate"),
        ({"test_rate": -0.5}, "test_rate"),
        ({"validation_rate": 0.6, "test_rate": 0.4}, "nothing to train on"),
        ({"dataset_restrictions": "{"}, "dataset_restrictions"),
        ({"topic": "a b"}, "topic name"),
        ({"topic": "x" * 64}, "client name"),
        ({"deployment_id": object()}, "JSON"),
    ],
)
def test_what_cannot_be_announced_is_refused_before_anything_is_sent(arguments: dict[str, object], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        FederatedRawSink(**{"boostrap_servers": "127.0.0.1:9", "topic": "t", "deployment_id": 1, **arguments})  # type: ignore[arg-type]


def test_a_record_larger_than_the_brokers_take_is_refused(kafka: KafkaSettings, topic: str) -> None:
    with pytest.raises(RecordError, match="too large"):
        send_dataset(kafka, topic, "c", np.zeros((1, 2_000_000), np.uint8), Y[:1])


@pytest.mark.parametrize(
    ("client", "x", "y", "reason"),
    [
        ("hospital a", X, Y, "client name"),
        ("c", X, Y[:3], "40 samples and 3 labels"),
        ("c", X[:0], Y[:0], "at least 1"),
        ("c", X, np.array([{}] * 40), "label_type"),
    ],
)
def test_arrays_and_names_that_cannot_be_announced_are_refused(
    kafka: KafkaSettings, topic: str, client: str, x: np.ndarray, y: np.ndarray, reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        send_dataset(kafka, topic, client, x, y)


def test_the_brokers_may_be_named_in_either_spelling(kafka: KafkaSettings, topic: str) -> None:
    where, rest = kafka.bootstrap_servers, {"topic": topic, "deployment_id": 1, "control_topic": f"{topic}-control"}
    for named in ({"boostrap_servers": where}, {"bootstrap_servers": [where]}):
        with FederatedRawSink(**named, **rest) as sink:
            sink.send(X[0], Y[0])
        with FederatedJsonSink(**named, **rest, fields=["a"]) as sink:
            sink.send({"a": 1}, 0)
    assert len(heard(kafka, f"{topic}-control")) == 4
    with pytest.raises(UsageError, match="the brokers are named twice; pass bootstrap_servers once"):
        FederatedRawSink(boostrap_servers=where, bootstrap_servers=where, **rest)
    with pytest.raises(UsageError, match="the brokers are named twice"):
        OnlineFederatedRawSink(where, topic, 1, bootstrap_servers=where)


def send_two(sink: Sink, samples: tuple[np.ndarray, np.ndarray]) -> None:
    for sample in samples:
        sink.send(sample, Y[0])


def test_a_block_that_ends_well_announces_and_one_that_fails_does_not(kafka: KafkaSettings, topic: str) -> None:
    control = f"{topic}-control"
    sink = FederatedRawSink(kafka.bootstrap_servers, topic, 1, control_topic=control)
    with pytest.raises(RecordError), sink:
        send_two(sink, (X[0], X[1, :3]))
    with pytest.raises(UsageError, match="is closed"):
        sink.send(X[0], Y[0])
    assert heard(kafka, control) == []
    with FederatedRawSink(kafka.bootstrap_servers, topic, 1, control_topic=control) as sink:
        sink.send(X[0], Y[0])
    assert [said.topic for said in heard(kafka, control)] == [f"{topic}:0:1:2"]
    with FederatedRawSink(kafka.bootstrap_servers, topic, 1, control_topic=control) as sink:
        sink.send(X[0], Y[0])
        sink.close()
    assert len(heard(kafka, control)) == 2


@pytest.mark.parametrize("first", ["announced", "sent"])
def test_an_online_stream_is_announced_by_its_topic_before_or_after_its_first_record(
    kafka: KafkaSettings, topic: str, first: str
) -> None:
    control = f"{topic}-control"
    mnist = OnlineFederatedRawSink(kafka.bootstrap_servers, topic, 1, validation_rate=0.1, control_topic=control)
    if first == "sent":
        mnist.send(data=X[0], label=Y[0])
    mnist.send_online_control_msg(data=X[0], label=Y[0])
    [said] = heard(kafka, control)
    assert (said.topic, said.online, said.incremental, said.total_msg) == (topic, True, True, None)
    assert (said.unsupervised_topic, said.validation_rate, said.client) == (None, 0.1, topic)
    assert said.input_config == {
        "data_type": "uint8",
        "label_type": "uint8",
        "data_reshape": "4 4",
        "label_reshape": "1",
    }
    mnist.send(data=X[1], label=Y[1])
    mnist.online_close()
    assert topic_bounds(kafka, topic) == {0: (0, 1 + (first == "sent"))}
    assert len(heard(kafka, control)) == 1


def test_an_online_stream_with_unlabelled_records_announces_the_labelled_ones_exactly(
    kafka: KafkaSettings, topic: str
) -> None:
    control = f"{topic}-control"
    options = {"control_topic": control, "unsupervised_topic": f"{topic}-u"}
    with OnlineFederatedRawSink(kafka.bootstrap_servers, topic, 1, **options) as mnist:
        for x, y in zip(X, Y, strict=True):
            mnist.send(data=x, label=y)
        mnist.send_online_control_msg(data=X[0], label=Y[0])
        mnist.unsupervised_send(data=X[0])
    [said] = heard(kafka, control)
    assert (said.topic, said.unsupervised_topic) == (f"{topic}:0:0:40", f"{topic}-u")
    assert (said.total_msg, said.incremental) == (40, True)
    assert topic_bounds(kafka, f"{topic}-u") == {0: (0, 1)}


def test_an_online_stream_that_nobody_hears_of_and_a_sample_unlike_the_sent_ones_are_errors(
    kafka: KafkaSettings, topic: str
) -> None:
    sink = OnlineFederatedRawSink(kafka.bootstrap_servers, topic, 1, control_topic=f"{topic}-control")
    sink.send(X[0], Y[0])
    with pytest.raises(RecordError, match="shape"):
        sink.send_online_control_msg(X[0, :3], Y[0])
    with pytest.raises(UsageError, match=f"topic '{topic}' was never announced.*call send_online_control_msg"):
        sink.online_close()
    for use in (sink.online_close, sink.close, lambda: sink.send_online_control_msg(X[0], Y[0])):
        with pytest.raises(UsageError, match="is closed"):
            use()


def test_json_records_are_sent_as_mappings_or_rows(kafka: KafkaSettings, topic: str) -> None:
    options = {"control_topic": f"{topic}-control", "classes": ["no", "yes"], "validation_rate": 0.2}
    with FederatedJsonSink(kafka.bootstrap_servers, topic, 1, ["age", "bmi"], **options) as sink:
        sink.send({"bmi": 24.5, "age": 71, "ward": 7}, "yes")
        sink.send([40, 21], 0)
        with pytest.raises(RecordError, match="record 2 has no field 'bmi'; the stream's fields are age, bmi"):
            sink.send({"age": 1}, 0)
        with pytest.raises(RecordError, match="the sample of record 2 has nan"):
            sink.send({"age": 1, "bmi": np.nan}, 0)
    [said] = heard(kafka, f"{topic}-control")
    assert (said.input_format, said.classes, said.total_msg) == ("JSON", ["no", "yes"], 2)
    check_content(kafka, said, np.array([[71, 24.5], [40, 21]], np.float32), np.array([1, 0]))
    assert json.loads(read_ranges(kafka, said.ranges, 20).values[0]) == {"age": 71, "bmi": 24.5}


@pytest.mark.parametrize(
    ("sink", "arguments", "reason"),
    [
        (FederatedJsonSink, {"fields": []}, "input_config.fields"),
        (FederatedJsonSink, {"fields": ["a"], "data_type": "complex64"}, "input_config.data_type"),
        (FederatedAvroSink, {"data_scheme": "{", "label_scheme": "{"}, "input_"),
    ],
)
def test_a_format_that_cannot_be_is_refused_before_anything_is_sent(
    sink: type[Sink], arguments: dict[str, object], reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        sink("127.0.0.1:9", "t", 1, **arguments)  # type: ignore[arg-type]
