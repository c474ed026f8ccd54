import base64
import hashlib
import json
import re

import pytest

from mmssr_jax.report.explorer.section import Explorer
from mmssr_jax.report.inputs import ReportConfig
from mmssr_jax.report.render import render

HOSTILE = "</script><script>alert(1)</script><!-- \u2028 &amp;"


@pytest.fixture(scope="module")
def html(inputs):
    data = {"capabilities": [], "selections": [], "samples": [{"id": HOSTILE}], "rejects": {"total": 0, "rows": []}}
    return render(inputs, ReportConfig(), {}, Explorer(data, "All samples."))


def test_data_cannot_leave_its_element(html):
    scripts = re.findall(r"<script[^>]*>(.*?)</script>", html, re.DOTALL)
    assert len(scripts) == 2
    assert json.loads(scripts[0])["samples"] == [{"id": HOSTILE}]
    assert not set("<>&\u2028") & set(scripts[0])


def test_a_browser_may_run_only_the_script_of_the_package(html):
    script = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    assert policy[1] == f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def test_a_page_without_explorer_has_no_script(inputs):
    html = render(inputs, ReportConfig(), {})
    assert "<script" not in html
    assert "script-src" not in html
    assert 'href="#explorer"' not in html
