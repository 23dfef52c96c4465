"""`GET /v1/activity` with a real JupyterLab beside the API."""

import time
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def test_activity_counts_kernels_and_says_when_one_was_last_used(environment: Any) -> None:
    environment.start()

    def activity() -> Any:
        status, answer = environment.request("api", "GET", "/v1/activity")
        assert status == 200
        return answer

    assert activity()["kernels"] == 0
    begun = time.time()
    environment.kernel("pass")
    answer = activity()
    assert answer["kernels"] == 1
    assert begun - 5 < answer["last_kernel_activity"] < time.time() + 5
