"""The options of a frame travel as JSON and are checked by name."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labdock.errors import InvalidOptions
from labdock.wire import FrameOptions

OPTIONS = st.builds(
    FrameOptions,
    algo=st.text(),
    model=st.text(),
    features=st.lists(st.text()),
    target=st.lists(st.text()),
    params=st.dictionaries(st.text(), st.none() | st.booleans() | st.text() | st.integers()),
    limits=st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False)),
    sharing=st.sampled_from(["", "app", "global"]),
    inside=st.booleans(),
    version=st.integers(0, 2**31),
)


@given(OPTIONS)
def test_options_come_back_and_fit_a_header(options: FrameOptions) -> None:
    text = options.to_json()
    assert text.isascii()
    assert "\n" not in text
    assert FrameOptions.from_json(text) == options


def test_what_equals_the_default_is_left_out() -> None:
    assert json.loads(FrameOptions().to_json()) == {}
    assert json.loads(FrameOptions("a", features=["x"]).to_json()) == {"algo": "a", "features": ["x"]}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nonsense", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"agol": "x"}', "Unknown option 'agol'"),
        ('{"features": "a,b"}', "'features' is a str"),
        ('{"features": [1]}', "holds 1"),
        ('{"algo": null}', "'algo' is a NoneType"),
    ],
)
def test_wrong_options_are_named(text: str, says: str) -> None:
    with pytest.raises(InvalidOptions) as caught:
        FrameOptions.from_json(text)
    assert says in caught.value.message
    assert caught.value.remedy
