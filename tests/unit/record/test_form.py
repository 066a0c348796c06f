"""What a form reads off a model's fields."""

from typing import Annotated

import pytest
from pydantic import BaseModel, Field

from fedstream.record.form import GROUPS, Entry, form_of
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
    ],
)
def test_a_field_that_no_form_can_show_is_named(annotation, description, said):
    class Wrong(BaseModel):
        field: annotation = Field(description=description)

    with pytest.raises(TypeError, match=said):
        form_of(Wrong)
