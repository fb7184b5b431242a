"""promtool on the files that Prometheus is given: the syntax, and what the rules say to made-up streams."""

import re
import shutil
import subprocess

import pytest
import yaml

from deploy.__main__ import ROOT

FOLDER = ROOT / "deploy/prometheus"
pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="there is no promtool (package prometheus)")


def promtool(*words: str, cwd=FOLDER) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *words], cwd=cwd, capture_output=True, text=True, timeout=240)


@pytest.mark.parametrize(
    "words",
    [("check", "rules", "rules.yml"), ("check", "config", "prometheus.yml"), ("test", "rules", "rules_test.yml")],
)
def test_promtool_is_content(words):
    done = promtool(*words)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case_in_which_it_fires():
    alerts = set(re.findall(r"alert: (\w+)", (FOLDER / "rules.yml").read_text()))
    cases = yaml.safe_load((FOLDER / "rules_test.yml").read_text())["tests"]
    fired = {case["alertname"] for test in cases for case in test.get("alert_rule_test", []) if case["exp_alerts"]}
    by_query = [
        f"{sample['labels']} {case['expr']}"
        for test in cases
        for case in test.get("promql_expr_test", [])
        for sample in case["exp_samples"]
    ]
    assert alerts == fired | {alert for alert in alerts if any(f'"{alert}"' in text for text in by_query)}


@pytest.mark.parametrize(
    ("rule", "mended"),
    [
        ("and on (job, instance) max_over_time(pp1_paused[45s]) == 0", ""),  # a paused stream would be stalled
        ('reason="late"', 'reason!="late"'),  # a hard cut's frames would count as lost
        ("pp1_rank_up == 0", "pp1_rank_up == 1"),
        ("seconds:p95_5m > 5", "seconds:p95_5m > 50"),
    ],
)
def test_the_cases_notice_a_wrong_rule(tmp_path, rule, mended):
    text = (FOLDER / "rules.yml").read_text()
    assert rule in text
    (tmp_path / "rules.yml").write_text(text.replace(rule, mended))
    shutil.copy(FOLDER / "rules_test.yml", tmp_path)
    done = promtool("test", "rules", "rules_test.yml", cwd=tmp_path)
    assert done.returncode != 0
    assert "FAILED" in done.stdout + done.stderr
