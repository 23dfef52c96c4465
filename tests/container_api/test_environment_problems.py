"""The table from code to status is whole, and the page about the API tells it."""

import re
from pathlib import Path

from labdock import errors
from labdock_container.routes.problems import STATUS, problem

PAGE = Path(__file__).parents[2] / "docs" / "environment-api.md"
# Raised by controller, search or client only.
ELSEWHERE = {"search-error", "model-refused"}


def codes(cls=errors.LabdockError):
    if cls.__module__ == errors.__name__:  # other rooms refine these classes
        yield cls.code
    for sub in cls.__subclasses__():
        yield from codes(sub)


def test_every_code_that_an_environment_raises_has_a_status():
    launch = set(codes(errors.LaunchError))
    assert set(STATUS) == set(codes()) - launch - ELSEWHERE


def test_the_page_names_every_code_with_its_status():
    told = {}
    for row in re.findall(r"^\| ([\d, ]+) \| (.*) \|$", PAGE.read_text(), re.MULTILINE):
        numbers, listed = [int(n) for n in row[0].split(",")], re.findall(r"`([a-z-]+)`", row[1])
        for i, code in enumerate(listed):
            told.setdefault(code, set()).add(numbers[i] if len(numbers) > 1 else numbers[0])
    for code, status in STATUS.items():
        assert status in told.get(code, set()), code


def test_a_problem_is_an_error_again():
    error = errors.ModuleTimeout("It ran too long.", remedy="Wait.", module="m", cell=3)
    status, headers, body = problem(error)
    import json

    back = errors.from_problem(json.loads(body))
    assert status == 504
    assert (b"content-type", b"application/problem+json") in headers
    assert type(back) is errors.ModuleTimeout
    assert back.details == {"module": "m", "cell": 3}
