"""Names: what is allowed, and what is said of what is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labdock.errors import InvalidName
from labdock.names import ModelRef, check_name, nearest, not_found

GOOD = ["a", "__dev__", "A-b_9", "0", "x" * 64]
BAD = [
    "",
    "x" * 65,
    "a/b",
    "..",
    ".hidden",
    "-x",
    "a b",
    "a\x00",
    "n\u0430me",
    "a\n",
    "\uff41",
    "a.b",
    "é",
    "a:b",
    "x" * 300,
]


@pytest.mark.parametrize("name", GOOD)
def test_good_names_pass_unchanged(name: str) -> None:
    assert check_name(name, "model") == name


@pytest.mark.parametrize("name", BAD)
def test_bad_names_are_refused_and_shown_harmlessly(name: str) -> None:
    with pytest.raises(InvalidName) as caught:
        check_name(name, "model")
    assert "model" in caught.value.message
    assert caught.value.message.replace("…", "").isascii()
    assert len(caught.value.message) < 250
    assert caught.value.remedy


@given(st.text())
def test_what_passes_is_safe_in_a_path_and_a_url(name: str) -> None:
    try:
        check_name(name, "model")
    except InvalidName:
        return
    assert name.isascii()
    assert 1 <= len(name) <= 64
    assert not set(name) & set("/\\.:?#%&=+ \t\r\n\x00'\"$`*;|<>(){}[]~!@^,")
    assert name[0] != "-"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("m", ModelRef("m")),
        ("app:m", ModelRef("m", shared=True)),
        ("onnx:m", ModelRef("m", "onnx")),
        ("app:onnx:m", ModelRef("m", "onnx", shared=True)),
        ("m@3", ModelRef("m", version="3")),
        ("app:onnx:m@champion", ModelRef("m", "onnx", shared=True, version="champion")),
    ],
)
def test_model_references_read_and_write(text: str, expected: ModelRef) -> None:
    assert ModelRef.parse(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize(
    "text", ["", "app:", "onnx:app:m", "app:app:m", "a:m", "app:../x", "m@", "@1", "m@1@2", "m@../x", "m@٣"]
)
def test_other_references_are_refused(text: str) -> None:
    with pytest.raises(InvalidName):
        ModelRef.parse(text)


def test_the_nearest_name_ignores_case_and_gives_up_when_nothing_is_near() -> None:
    assert nearest("THREAT_HUNTNG", ["threat_hunting", "botnet"]) == "threat_hunting"
    assert nearest("zzz", ["threat_hunting"]) is None
    assert "There is: a, b." in not_found("model", "zzz", ["b", "a"]).remedy
    assert "There is no model yet." in not_found("model", "zzz", []).remedy
