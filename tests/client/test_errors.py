"""One error tree: it travels as problem details and comes back as the same class."""

import pickle
import re
from pathlib import Path

import pytest

from labdock import errors
from labdock.errors import LabdockError, NotFound, from_problem

REPOSITORY = Path(__file__).parents[2]


def tree(cls: type[LabdockError] = LabdockError) -> list[type[LabdockError]]:
    return [
        cls,
        *(below for child in cls.__subclasses__() if child.__module__ == errors.__name__ for below in tree(child)),
    ]


@pytest.mark.parametrize("cls", tree(), ids=lambda c: c.code)
def test_an_error_comes_back_as_the_class_it_was(cls: type[LabdockError]) -> None:
    error = cls("What was wrong.", remedy="What to do.", name="x", log=["a", "b"])
    for again in (from_problem(error.to_problem()), pickle.loads(pickle.dumps(error))):
        assert type(again) is cls
        assert (again.message, again.remedy, again.details) == (error.message, error.remedy, error.details)
        assert str(again) == "What was wrong. What to do."


def test_codes_are_unique_and_never_look_like_anything_else() -> None:
    codes = [cls.code for cls in tree()]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in codes)


def test_an_unknown_code_keeps_what_it_says() -> None:
    error = from_problem({"code": "from-the-future", "detail": "New.", "remedy": "Upgrade."})
    assert type(error) is LabdockError
    assert (error.message, error.remedy, error.details["code"]) == ("New.", "Upgrade.", "from-the-future")


@pytest.mark.parametrize(
    "problem", [{}, {"code": None}, {"code": 7, "details": "no"}, {"title": "Not found", "code": "not-found"}]
)
def test_a_malformed_problem_is_an_error_all_the_same(problem: dict[str, object]) -> None:
    assert isinstance(from_problem(problem), LabdockError)


def test_the_tree_is_drawn_in_the_module_and_documented_page_by_page() -> None:
    page = (REPOSITORY / "docs" / "errors.md").read_text()
    for cls in tree():
        assert cls.__name__ in (errors.__doc__ or ""), f"{cls.__name__} is not in the picture"
        assert f"`{cls.code}`" in page, f"{cls.code} is not in docs/errors.md"
        assert f"`{cls.__name__}`" in page, f"{cls.__name__} is not in docs/errors.md"


def test_details_of_not_found_name_the_nearest() -> None:
    from labdock.names import not_found

    error = not_found("module", "treat_hunting", ["threat_hunting", "botnet"])
    assert isinstance(error, NotFound)
    assert error.details["nearest"] == "threat_hunting"
    assert "Did you mean 'threat_hunting'?" in error.remedy
