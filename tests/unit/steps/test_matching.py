"""Which announcements take part.

A control topic is anybody's to write to: what is wrong in it gets a reason, and harms no other client.
"""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedstream.record.canonical import canonical_json
from fedstream.record.description import ModelDescription
from fedstream.record.run import ModelReference, RunRecord
from fedstream.record.spec import RunSpec
from fedstream.steps import matching
from fedstream.steps.admission import Heard
from fedstream.steps.markdown import plan_page
from fedstream.steps.matching import REFUSED_OF_CLIENT, REFUSED_OF_OTHERS, match, reasons

MODEL = ModelDescription(
    name="m",
    input_shape=[8, 8],
    output_shape=[10],
    num_classes=10,
    loss="sparse_categorical_crossentropy",
    metrics=["accuracy"],
    variables=[],
    keras_digest="0" * 64,
    weights_digest="1" * 64,
)
CONFIG = {"data_type": "float32", "data_reshape": "8 8", "label_type": "uint8", "label_reshape": "1"}
GOOD = {"topic": "a:0:0:60", "input_format": "RAW", "input_config": CONFIG, "client": "a"}


def spec(**fields):
    return RunSpec(run="r", model="m", **fields)


def heard(*said, servers=""):
    return [
        Heard(servers, 0, offset, value if isinstance(value, bytes) else json.dumps(value).encode())
        for offset, value in enumerate(said)
    ]


def matched(*said, **fields):
    return match(spec(**fields), MODEL, heard(*said))


def without(name):
    return {key: value for key, value in GOOD.items() if key != name}


BROKEN = {
    "nothing at all": (b"", "not JSON"),
    "no JSON": (b"{topic: a}", "the announcement is not JSON"),
    "no UTF-8": (b"\xff\xfe{}", "the announcement is not JSON"),
    "a list": ([GOOD], "JSON of type list, expected an object"),
    "nesting without end": (b"[" * 100_000, "not JSON"),
    "no topic": (without("topic"), "topic: Field required"),
    "no format": (without("input_format"), "input_format: Field required"),
    "no configuration": (without("input_config"), "input_config: Field required"),
    "an unknown format": (GOOD | {"input_format": "XML"}, "input_format: 'XML' is not offered; the formats are AVRO, "),
    "AVRO without a schema": (GOOD | {"input_format": "AVRO"}, "input_config.data_scheme: give the text of an Avro"),
    "an online stream": (GOOD | {"topic": "a"}, "announces the online stream 'a' without offsets"),
    "a topic no broker allows": (GOOD | {"topic": "a b:0:0:60"}, "'a b:0:0:60' is not a range of offsets"),
    "offsets that are none": (GOOD | {"topic": "a:0:zero:60"}, "topic: "),
    "offsets that run backwards": (GOOD | {"topic": "a:0:60:0"}, "topic: "),
    "a range announced twice": (GOOD | {"topic": "a:0:0:60,a:0:30:90"}, "topic: "),
    "no record": (GOOD | {"topic": "a:0:60:60"}, "topic: "),
    "all held out": (
        GOOD | {"validation_rate": 1},
        "validation_rate: 1.0 is not in [0, 1): nothing would be left to train on",
    ),
    "more than all held out": (
        GOOD | {"validation_rate": 0.6, "test_rate": 0.4},
        "leave nothing to train on; their sum must be below 1",
    ),
    "a rate that is none": (b'{"validation_rate": NaN, ' + json.dumps(GOOD).encode()[1:], "validation_rate: "),
    "a negative rate": (GOOD | {"test_rate": -0.1}, "test_rate: "),
    "another shape": (
        GOOD | {"input_config": CONFIG | {"data_reshape": "28 28"}},
        "input (8, 8), which does not fit the stream's records of shape (28, 28)",
    ),
    "another label": (GOOD | {"input_config": CONFIG | {"label_reshape": "10"}}, "expects labels of shape"),
    "a shape that is none": (GOOD | {"input_config": CONFIG | {"data_reshape": "8 x 8"}}, "data_reshape"),
    "text records": (GOOD | {"input_config": CONFIG | {"data_type": "string"}}, "a record holds one text"),
    "no type": (GOOD | {"input_config": {"data_reshape": "8 8"}}, "data_type"),
    "quotes in the name": (GOOD | {"client": 'o\'brien "x"'}, "client name 'o\\'brien \"x\"' cannot be used"),
    "a name that climbs": (GOOD | {"client": "../b"}, "client name '../b' cannot be used"),
    "half a character in the name": (GOOD | {"client": "\ud800"}, "client name '\\ud800' cannot be used"),
    "restrictions that are no JSON": (GOOD | {"dataset_restrictions": "{"}, "dataset_restrictions: '{' is not JSON"),
    "restrictions that are no object": (
        GOOD | {"dataset_restrictions": "[1]"},
        "dataset_restrictions: '[1]' is not a JSON object",
    ),
    "restrictions of its own": (GOOD | {"dataset_restrictions": '{"k": 1}'}, "differ from the run's {}"),
}


@pytest.mark.parametrize(("said", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_broken_announcement_gets_a_reason_and_the_good_one_takes_part(said, reason):
    found = matched(said, GOOD)
    assert [client.client for client in found.clients] == ["a"]
    assert [row.accepted for row in found.rows] == [False, True]
    assert reason in found.rows[0].reason
    assert found.rows[0].reason
    assert found.rows[1].reason == "takes part"


def test_a_broken_announcement_does_not_supersede_an_older_good_one():
    assert [row.accepted for row in matched(GOOD, GOOD | {"validation_rate": 1}).rows] == [True, False]


@pytest.mark.parametrize("rate", [None, 0])
def test_a_rate_of_null_or_0_leaves_it_to_the_run(rate):
    assert matched(GOOD | {"validation_rate": rate}, validation_rate=0.25).clients[0].held_out_rate == 0.25


def test_the_owner_s_rates_add_up():
    assert matched(GOOD | {"validation_rate": 0.2, "test_rate": 0.1}).clients[0].held_out_rate == pytest.approx(0.3)


def test_the_newest_announcement_of_a_client_counts():
    found = matched(GOOD, GOOD | {"topic": "a:0:60:120"}, GOOD | {"topic": "a:0:60:120"})
    assert found.clients[0].ranges == "a:0:60:120"
    assert [row.accepted for row in found.rows] == [False, False, True]
    assert "superseded by a newer announcement of this client (a:0:60:120)" in found.rows[0].reason
    assert found.rows[1].reason == "a newer announcement of this client says the same"


def test_a_client_without_a_name_is_called_after_its_topic():
    assert matched(without("client")).clients[0].client == "a"


def test_clients_are_sorted_and_the_others_are_told_why_not():
    b = GOOD | {"topic": "b:0:0:5", "client": "b"}
    found = matched(b, GOOD, GOOD | {"client": "c"}, clients=["a", "b"], min_data=6)
    assert [client.client for client in found.clients] == ["a"]
    assert reasons(found, "b") == "announces 5 records, the run asks for at least 6"
    assert reasons(found, "c") == "not among the clients the run asks for"
    assert reasons(found, "d") == "it has announced no stream"
    assert [client.client for client in matched(b, GOOD).clients] == ["a", "b"]


def test_a_client_takes_part_only_at_the_broker_of_its_site():
    run = spec(sites={"a": {"bootstrap_servers": "far:9092"}})
    found = match(run, MODEL, [*heard(GOOD), *heard(GOOD, servers="far:9092")])
    assert [row.accepted for row in found.rows] == [False, True]
    assert "announced at the default brokers, but the run's sites place it at far:9092" in found.rows[0].reason
    assert found.clients[0].bootstrap_servers == "far:9092"


def test_the_evaluation_topic_measures_and_does_not_train():
    found = matched(GOOD | {"topic": "held:0:0:9", "client": "held"}, GOOD, evaluation_topic="held", min_data=10)
    assert [client.client for client in found.clients] == ["a"]
    assert (found.evaluations[0].records, found.evaluations[0].held_out_rate) == (9, 0.0)
    assert found.rows[0].reason == "measures each global model (evaluation topic)"


HELD = GOOD | {"topic": "held:0:0:9", "client": "held"}


def test_an_evaluation_topic_that_is_announced_in_two_ways_is_not_decided_here():
    found = matched(HELD, HELD | {"topic": "held:0:0:1", "client": "evil"}, GOOD, evaluation_topic="held")
    assert sorted(evaluation.ranges for evaluation in found.evaluations) == ["held:0:0:1", "held:0:0:9"]
    assert len(matched(HELD, HELD | {"client": "again"}, GOOD, evaluation_topic="held").evaluations) == 1, (
        "the same records are one way"
    )


def test_an_evaluation_fixed_by_offsets_is_that_one():
    found = matched(HELD, HELD | {"topic": "held:0:0:1", "client": "evil"}, GOOD, evaluation_topic="held:0:0:9")
    assert [evaluation.ranges for evaluation in found.evaluations] == ["held:0:0:9"]
    assert found.evaluation_refusals == ["announces held:0:0:1, but the run is measured on held:0:0:9"]


def test_an_evaluation_announced_at_a_site_s_brokers_is_none():
    run = spec(sites={"a": {"bootstrap_servers": "far:9092"}}, evaluation_topic="held")
    found = match(run, MODEL, [*heard(HELD, servers="far:9092"), *heard(GOOD, servers="far:9092")])
    assert found.evaluations == []
    assert found.evaluation_refusals == ["announced at far:9092, but the evaluation topic lies at the default brokers"]


def test_a_client_s_name_is_tied_to_the_topics_under_it():
    own, evil = GOOD | {"topic": "a.data:0:0:60"}, GOOD | {"topic": "evil.data:0:0:60"}
    found = matched(own, evil, own_topics=True)
    assert [client.ranges for client in found.clients] == ["a.data:0:0:60"]
    assert found.rows[1].reason == (
        "topic 'evil.data' does not begin with 'a.', and the run accepts a client's own topics only (own_topics)"
    )
    assert [client.ranges for client in matched(own, evil).clients] == ["evil.data:0:0:60"], (
        "without the option the newest one counts"
    )


def test_other_owners_announcements_have_nothing_to_do_with_a_run_that_names_its_clients():
    other = GOOD | {"topic": "b:0:0:5", "client": "b"}
    assert [row.related for row in matched(other, GOOD, clients=["a"]).rows] == [False, True]
    assert [row.related for row in matched(other, GOOD).rows] == [True, True]


def record_of(found, **fields):
    return RunRecord(
        spec=spec(**fields),
        model=ModelReference(name="m", keras_digest="0" * 64, weights_digest="1" * 64, description_digest="2" * 64),
        clients=found.clients,
        evaluation=next(iter(found.evaluations), None),
        announcements=found.rows,
        features=found.names.features,
        classes=found.names.classes,
    )


def test_every_reason_is_in_the_record_and_on_the_page():
    found = matched(*(said for said, _ in BROKEN.values()), GOOD)
    record = RunRecord.model_validate_json(canonical_json(record_of(found).model_dump(mode="json")))
    assert record.announcements == found.rows
    page = plan_page(record, "round 1 is next")
    refused, taken = page.split("## Refused")[1].split("##")[0], page.split("## Announcements that were taken")[1]
    related = [row for row in found.rows if row.related]
    for text, rows in (
        (refused, [row for row in related if not row.accepted]),
        (taken, [row for row in related if row.accepted]),
    ):
        table = [line for line in text.splitlines() if line.startswith("|")]
        assert len(table) == 2 + len(rows)
        assert all(line.count("|") - line.count("\\|") == 5 for line in table)


def test_announcements_of_others_are_only_counted_on_the_page():
    record = record_of(matched(GOOD | {"client": "a"}, GOOD | {"client": "elsewhere"}, clients=["a"]), clients=["a"])
    assert [(row.client, row.related) for row in record.announcements] == [("a", True), ("elsewhere", False)]
    page = plan_page(record, "round 1 is next")
    assert "elsewhere" not in page
    assert "Announcements that have nothing to do with this run: 1." in page


def test_names_are_put_on_record_without_control_characters_and_not_without_end():
    found = matched(GOOD | {"client": "\x1b[2J"}, GOOD | {"client": "a" * 10_000})
    assert found.rows[0].client == "\\x1b[2J"
    assert max(len(row.client) for row in found.rows) < 600
    assert max(len(row.reason) for row in found.rows) < 600


def test_markup_in_an_announcement_stays_text():
    page = plan_page(record_of(matched(GOOD | {"client": "<script>|`x`"}, GOOD)), "round 1 is next")
    assert "<script>" not in page
    assert "&lt;script&gt;\\|" in page


def test_an_image_in_an_announcement_is_not_shown():
    page = plan_page(record_of(matched(GOOD | {"client": "![x](http://evil.example/p.png)"}, GOOD)), "round 1 is next")
    assert "![" not in page
    assert "\\!\\[x\\](http" in page


@pytest.mark.parametrize("extra", ['{"note": "\\ud800"}', '{"note": NaN}', '{"note": 1e999}'])
def test_only_what_the_codec_needs_is_put_on_record(extra):
    config = {**CONFIG, **json.loads(extra)}
    found = matched(GOOD | {"input_config": config})
    assert found.clients[0].input_config == CONFIG
    canonical_json(record_of(found).model_dump(mode="json"))


FLAT = MODEL.model_copy(update={"input_shape": [2], "num_classes": 3, "output_shape": [3]})
TABLE = {
    "topic": "a:0:0:60",
    "input_format": "RAW",
    "input_config": CONFIG | {"data_reshape": "2"},
    "client": "a",
    "features": ["x", "y"],
}


def flat(*said, model=FLAT, **fields):
    return match(spec(**fields), model, heard(*said))


def of(client, **fields):
    return TABLE | {"client": client, "topic": f"{client}:0:0:9"} | fields


def test_the_first_client_that_names_columns_and_classes_decides_their_order():
    found = flat(
        of("c", features=["x", "y"], classes=["s", "r"]),
        of("b", features=["y", "x"], classes=["r", "s", "t"]),
        of("a", features=[]),
    )
    assert (found.names.features, found.names.classes) == (["y", "x"], ["r", "s", "t"])
    assert [client.features for client in found.clients] == [[], ["y", "x"], ["x", "y"]]
    page = plan_page(record_of(found), "x")
    assert [
        word for word in ("not checked: it names none", "as the run's", "reordered by name") if word not in page
    ] == []
    assert "Columns, in the run's order: y, x." in page
    assert "Classes, in the run's order: r, s, t." in page


def test_the_model_s_names_come_before_any_client_s():
    model = FLAT.model_copy(update={"features": ["y", "x"], "classes": ["r", "s", "t"]})
    found = flat(of("a", classes=["t"]), of("b", features=["x", "z"]), of("c", classes=["u"]), model=model)
    assert (found.names.features, found.names.classes) == (["y", "x"], ["r", "s", "t"])
    assert [client.client for client in found.clients] == ["a"]
    assert "it lacks 'y' and has 'z', which the run does not" in reasons(found, "b")
    assert "it has 'u', the run has 'r', 's', 't'" in reasons(found, "c")


def test_who_names_other_columns_than_the_first_client_is_refused():
    found = flat(of("a"), of("b", features=["x", "z"]), of("held", features=["q", "r"]), evaluation_topic="held")
    assert [client.client for client in found.clients] == ["a"]
    assert "its columns are not the run's: it lacks 'y' and has 'z'" in reasons(found, "b")
    assert found.evaluations == []
    assert "its columns are not the run's" in found.evaluation_refusals[0]
    assert "its columns are not the run's" in reasons(found, "held")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"features": ["x"]}, "names 1 columns, but its records have shape (2,)"),
        ({"features": ["x", "x"]}, "features: the name 'x' is there twice"),
        ({"features": ["x", ""]}, "features: '' is not a valid name"),
        ({"features": ["x", "\x1b"]}, "features: '\\x1b' is not a valid name"),
        ({"features": ["x"] * 1_001}, "features: 1001 names are too many"),
        ({"features": "x"}, "features: "),
        ({"classes": list("rstu")}, "names 4 classes, but model 'm' tells 3 apart"),
        ({"classes": ["r" * 101]}, "classes: 'rrr"),
    ],
)
def test_names_that_cannot_be_are_refused(fields, reason):
    found = flat(of("a", **fields))
    assert found.clients == []
    assert reason in found.rows[0].reason


def test_an_announcement_that_appends_adds_to_the_one_before():
    found = flat(of("a"), of("a", topic="a:0:20:25", append=True), min_data=14)
    assert (found.clients[0].ranges, found.clients[0].records) == ("a:0:0:9,a:0:20:25", 14)
    assert [row.reason for row in found.rows] == ["takes part", "takes part"]
    assert (
        reasons(flat(of("a"), of("a", topic="a:0:20:25", append=True), min_data=15), "a")
        == "announces 14 records, the run asks for at least 15"
    )


def test_a_run_can_take_all_that_a_client_announced():
    found = flat(of("a"), of("a", topic="a:0:5:25"), slices="all")
    assert (found.clients[0].ranges, found.clients[0].records) == ("a:0:0:25", 25)


def test_what_is_withdrawn_takes_no_part_whatever_the_run_asks_for():
    gone = {"topic": "a", "input_format": "RAW", "input_config": {}, "client": "a", "withdrawn": True}
    found = flat(of("a", dataset_restrictions='{"k": 1}'), gone, data_restriction={"k": 1})
    assert found.clients == []
    assert [row.reason for row in found.rows] == [
        "withdrawn by its client",
        "a withdrew what it had announced of topic a",
    ]
    assert [row.accepted for row in found.rows] == [False, False]


OWN_HELD = of("a.b", topic="a.held:0:0:9")
GONE = {"topic": "a.held", "input_format": "RAW", "input_config": {}, "client": "a.b", "withdrawn": True}


def test_nobody_leaves_their_own_evaluation_announcement_the_only_one_by_withdrawing_the_other():
    found = flat(OWN_HELD, GONE, of("a.b", topic="a.held:0:8:9"), evaluation_topic="a.held")
    assert [way.ranges for way in found.evaluations] == ["a.held:0:8:9", "a.held:0:0:9"]
    assert "takes effect with own_topics" in found.rows[1].reason


@pytest.mark.parametrize(
    "fields", [{"evaluation_topic": "a.held:0:0:9"}, {"evaluation_topic": "a.b.held", "own_topics": True}]
)
def test_an_evaluation_announcement_is_withdrawn_where_only_its_owner_could(fields):
    topic = fields["evaluation_topic"].split(":")[0]
    found = flat(OWN_HELD | {"topic": f"{topic}:0:0:9"}, GONE | {"topic": topic}, **fields)
    assert found.evaluations == []
    assert "withdrawn by its client" in found.evaluation_refusals


def test_the_same_evaluation_records_under_other_names_are_another_announcement():
    found = flat(
        OWN_HELD | {"features": ["x", "y"]},
        OWN_HELD | {"features": ["y", "x"]},
        OWN_HELD | {"features": ["y", "x"]},
        evaluation_topic="a.held",
    )
    assert [way.features for way in found.evaluations] == [["y", "x"], ["x", "y"]]


def test_a_withdrawal_is_as_bound_to_own_topics_as_an_announcement():
    found = flat(
        of("a", topic="a.x:0:0:9"),
        GONE | {"client": "b", "topic": "a.x"},
        GONE | {"client": "a", "topic": "x"},
        own_topics=True,
    )
    assert [client.ranges for client in found.clients] == ["a.x:0:0:9"]


def test_a_restriction_that_differs_says_how_a_run_asks_for_it():
    assert matched(GOOD | {"dataset_restrictions": '{"k": 1}'}).rows[0].reason == (
        """its restrictions {"k": 1} differ from the run's {}; """
        """to use these records, pass --data-restriction '{"k": 1}'"""
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = [
    "topic",
    "input_format",
    "input_config",
    "client",
    "validation_rate",
    "test_rate",
    "dataset_restrictions",
    "total_msg",
    "description",
]
FIELDS += ["features", "classes", "append", "withdrawn"]


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(st.sampled_from(FIELDS), JSON, min_size=1))
def test_whatever_is_announced_the_good_one_takes_part_and_the_plan_can_be_written(fields):
    found = matched(GOOD | {"client": "b", "topic": "b:0:0:1"} | fields, GOOD)
    assert "a" in [client.client for client in found.clients]
    record = record_of(found)
    assert plan_page(RunRecord.model_validate_json(canonical_json(record.model_dump(mode="json"))), "x").encode()


def ranges(count):
    return ",".join(f"a:0:{2 * number}:{2 * number + 1}" for number in range(count))


MANY = {
    "a message without end": (
        b'"' + b"x" * 200_000 + b'"',
        "the announcement has more than 131,072 bytes and is not read",
    ),
    "ranges without end": (GOOD | {"topic": ranges(1_001)}, "it lists 1,001 ranges of offsets, at most 1,000"),
    "restrictions nested as far as Python goes": (
        b'{"dataset_restrictions":' + b'{"a":' * 900 + b"1" + b"}" * 901,
        "nested deeper than 32 levels",
    ),
    "a configuration nested as far as Python goes": (
        b'{"input_config":' + b"[" * 950 + b"]" * 950 + b"}",
        "nested deeper than 32 levels",
    ),
    "a record of ten to the eighteenth": (
        GOOD | {"input_config": CONFIG | {"data_reshape": "999999999 999999999"}},
        "'999999999 999999999' has 2 dimensions and 999,999,998,000,000,001 values; "
        "at most 16 and 4,194,304 make a record",
    ),
    "a hundred dimensions": (GOOD | {"input_config": CONFIG | {"data_reshape": "1 " * 100}}, "has 100 dimensions"),
    "more records than there are": (
        GOOD | {"topic": "a:0:0:999999999999999999"},
        "999,999,999,999,999,999 records, at most 1,000,000,000,000",
    ),
    "a partition no topic has": (
        GOOD | {"topic": "a:2147483648:0:60"},
        "'a:2147483648:0:60' names a partition that no topic can have",
    ),
    "a count of four thousand digits": (GOOD | {"total_msg": 10**4000}, "total_msg: "),
    "a count below zero": (GOOD | {"total_msg": -1}, "total_msg: "),
    "a count beyond 64 bits": (GOOD | {"total_msg": 2**63}, "total_msg: "),
}


@pytest.mark.parametrize(("said", "reason"), MANY.values(), ids=MANY)
def test_what_is_beyond_a_limit_is_refused_with_its_offset(said, reason):
    found = matched(said, GOOD)
    assert [client.client for client in found.clients] == ["a"]
    assert [(row.offset, row.accepted) for row in found.rows] == [(0, False), (1, True)]
    assert reason in found.rows[0].reason


def test_a_flood_neither_makes_the_record_long_nor_hides_why_a_named_client_is_missing():
    flood = [
        GOOD | {"client": "a" if number % 2 else f"stranger-{number}", "topic": "c:0:0:1"} for number in range(4_000)
    ]
    found = matched(GOOD | {"client": "b", "topic": "b:0:0:1"}, *flood, clients=["a", "b"], min_data=2)
    assert len(found.rows) == 1 + REFUSED_OF_CLIENT + REFUSED_OF_OTHERS
    assert max(row.offset for row in found.rows) == 4_000
    assert reasons(found, "b") == "announces 1 records, the run asks for at least 2"
    assert [row.offset for row in found.rows] == sorted(row.offset for row in found.rows)


def test_a_run_has_so_many_clients_and_no_more(monkeypatch):
    monkeypatch.setattr(matching, "CLIENTS", 3)
    found = matched(*(GOOD | {"client": name} for name in "abcde"))
    assert [client.client for client in found.clients] == ["c", "d", "e"]
    assert found.rows[0].reason == "the run has 3 clients already; name those to ask"


def test_planning_takes_time_in_proportion_to_what_is_announced():
    """As many bytes as are read at most, all of them valid:
    twice as many ranges take about twice as long, and all of them a few seconds.
    """

    def seconds(messages):
        said = [GOOD | {"client": f"c{number}", "topic": ranges(1_000)} for number in range(messages)]
        began = time.process_time()
        assert len(matched(*said).clients) == messages
        return time.process_time() - began

    seconds(5)
    assert seconds(200) < 4 * seconds(100) + 1
    assert seconds(200) < 20
