"""What a form reads off a model's fields."""

from typing import Annotated

import pytest
from pydantic import BaseModel, Field

from fedstream.record.form import GROUPS, Entry, form_of, packed_form
from fedstream.record.operational import OPERATIONAL
from fedstream.record.pipeline_options import PipelineOptions
from fedstream.record.spec import RunSpec


def test_entries_come_group_by_group_and_as_the_models_have_them():
    class First(BaseModel):
        late: Annotated[int, Entry("stopping"), OPERATIONAL] = Field(1, description="x")
        early: Annotated[int, Entry("who")] = Field(description="x")

    class Second(BaseModel):
        middle: Annotated[int, Entry("who", flag="--other")] = Field(1, description="x")

    found = form_of(First, Second)
    assert [(field.name, field.flag, field.required, field.operational) for field in found] == [
        ("early", "--early", True, False),
        ("middle", "--other", False, False),
        ("late", "--late", False, True),
    ]


def test_entries_within_an_object_are_one_entry_of_the_packed_form():
    class Wide(BaseModel):
        often: Annotated[int, Entry("data")] = Field(1, description="x")
        rare: Annotated[float, Entry("data", within="data_options"), OPERATIONAL] = Field(0.5, description="How rare.")
        last: Annotated[int, Entry("data")] = Field(1, description="x")
        rarer: Annotated[dict[str, int], Entry("data", within="data_options")] = Field({}, description="Rarer.")

    often, options, last = packed_form(Wide)
    assert [often, last] == [field for field in form_of(Wide) if field.name in ("often", "last")]
    assert (options.name, options.kind, options.group, options.required) == ("data_options", "document", "data", False)
    assert options.default == {"rare": 0.5, "rarer": {}}
    assert options.description.endswith("keep their defaults. rare: How rare. rarer: Rarer.")
    assert not options.operational
    assert {field.name: field.parameter for field in form_of(Wide)}["rare"] == "data_options"


def test_every_group_has_entries_and_no_two_entries_share_an_option():
    found = form_of(RunSpec, PipelineOptions)
    assert list(dict.fromkeys(field.group for field in found)) == list(GROUPS)
    assert len({field.flag for field in found}) == len({field.name for field in found}) == len(found)


@pytest.mark.parametrize(
    ("annotation", "description", "said"),
    [
        (int, "x", "Wrong.field needs an Entry in its annotation"),
        (Annotated[int, Entry("who")], None, "and a description"),
        (
            Annotated[bytes, Entry("who")],
            "x",
            "Wrong.field is a <class 'bytes'>, which a form cannot show; use bool, int, float, str, Literal",
        ),
        (
            Annotated[int, Entry("who", within="who_options")],
            "x",
            "Wrong.field needs a default, because keys of who_options can be left out",
        ),
    ],
)
def test_a_field_that_no_form_can_show_is_named(annotation, description, said):
    class Wrong(BaseModel):
        field: annotation = Field(description=description)

    with pytest.raises(TypeError, match=said):
        form_of(Wrong)
