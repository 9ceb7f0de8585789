"""What the integration tests share."""

import pytest

from tests.browser import chromium


@pytest.fixture(scope="module")
def browser():
    """Chromium, started once for the tests of a file."""
    with chromium() as browser:
        yield browser
