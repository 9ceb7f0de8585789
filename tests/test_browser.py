"""Browser tests may be skipped on a user's machine, but not in continuous integration."""

import pytest

from tests import browser


@pytest.mark.parametrize("ci", ["true", "1", "false", None])
def test_in_ci_a_browser_test_that_cannot_run_fails(monkeypatch, tmp_path, ci):
    monkeypatch.setattr(browser, "CHROMIUM", str(tmp_path / "chromium"))
    if ci is None:
        monkeypatch.delenv("CI", raising=False)
    else:
        monkeypatch.setenv("CI", ci)
    outcome = pytest.fail if ci in ("true", "1") else pytest.skip
    with pytest.raises(outcome.Exception, match="no Chromium at"), browser.chromium():
        pass
    with pytest.raises(outcome.Exception, match="No module named 'no_such_module'"):
        browser.import_for_browser("no_such_module", "browser")
