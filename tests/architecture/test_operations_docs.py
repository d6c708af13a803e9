"""What operators are given fits the portal: dashboard and alerts name metrics and labels that exist, every alert has
its runbook, every page that is linked is there."""

import json
import re
from pathlib import Path

import pytest
import yaml
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from connectors.in_force import DayQuotaMetrics
from q2c.core import metrics
from q2c.flows.levels import LevelMetrics
from q2c.flows.schedules import QUEUES
from tests import factories

FOLDER = Path(__file__).parents[2] / "docs" / "operations"
RULES = yaml.safe_load((FOLDER / "prometheus-alerts.yaml").read_text())
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((FOLDER / "grafana-dashboard.json").read_text())
RUNBOOKS = (FOLDER / "runbooks.md").read_text()
FOREIGN = {"up"}  # Prometheus' own
_METRIC = re.compile(r"\b(q2c_[a-z0-9_]+)(\{[^}]*\})?")
_LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"")
_BY = re.compile(r"\bby \(([^)]*)\)")


def expressions():
    """Every query of the dashboard and of the alerts, by where it stands."""
    found = {alert["alert"]: alert["expr"] for alert in ALERTS}
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            found[f"{panel['title']} {target['refId']}"] = target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            found[variable["name"]] = variable["definition"]
    return found


@pytest.fixture
def told(db, client):
    """The labels of each sample that `/metrics` tells by its name: as declared, and as found in a busy portal."""
    factories.make_connection(secrets_expire_at=timezone.now(), settings={"per_day": "1000"})
    factories.count_work()
    client.get("/healthz")
    found = {name: set(labels) for name, _, labels, _ in metrics.GAUGES}
    found |= {f"{name}_total": set(labels) for name, _, labels, _ in metrics.COUNTERS}
    found[metrics.STRAYS] = {"table"}
    families = list(text_string_to_metric_families(metrics.scrape(LevelMetrics(), DayQuotaMetrics()).decode()))
    assert {name.removesuffix("_total") for name in found} <= {family.name for family in families}
    for family in families:
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_every_metric_and_label_of_dashboard_and_alerts_exists(told):
    for where, expression in expressions().items():
        names = _METRIC.findall(expression)
        assert names or FOREIGN & set(re.findall(r"\w+", expression)), where
        known = set()
        for name, labels in names:
            assert name in told, f"{where}: {name}"
            known |= told[name]
            assert set(_LABEL.findall(labels)) <= told[name], f"{where}: {name}{labels}"
        for grouped in _BY.findall(expression):
            if names:
                assert {label.strip() for label in grouped.split(",")} <= known | {"instance"}, f"{where}: {grouped}"


@pytest.mark.parametrize("queue", QUEUES)
def test_the_death_of_every_queues_workers_is_told_also_where_one_takes_several(queue):
    absences = [re.fullmatch(r'absent\(q2c_living\{part=~"(worker:.*)"\}\)', alert["expr"]) for alert in ALERTS]
    of_it = [found[1] for found in absences if found and re.fullmatch(found[1], f"worker:{queue}")]
    assert len(of_it) == 1
    assert all(
        re.fullmatch(of_it[0], part) for part in (f"worker:a+{queue}", f"worker:{queue}+z", f"worker:a+{queue}+z")
    )
    assert not any(re.fullmatch(of_it[0], f"worker:{other}") for other in QUEUES if other != queue)


def test_every_alert_has_a_runbook_that_says_what_to_do_and_no_runbook_is_without_alert():
    titles = re.findall(r"^## (\w+)$", RUNBOOKS, re.M)
    assert titles == [alert["alert"] for alert in ALERTS]
    parts = dict(zip(titles, re.split(r"^## \w+$", RUNBOOKS, flags=re.M)[1:], strict=True))
    for alert in ALERTS:
        assert alert["annotations"]["runbook"] == f"docs/operations/runbooks.md#{alert['alert'].lower()}"
        assert alert["annotations"]["summary"]
        assert alert["labels"]["severity"] in ("critical", "warning")
        assert re.search(r"^1\. \S", parts[alert["alert"]], re.M), alert["alert"]


def test_the_dashboards_panels_have_ids_of_their_own_and_dont_overlap():
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}  # fmt: skip
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells


def test_every_page_that_is_linked_is_there():
    for page in FOLDER.glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_metric_that_exists_is_told_in_the_monitoring_page(told):
    text = (FOLDER / "monitoring.md").read_text()
    families = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name in told if name.startswith("q2c_")}
    missing = {name for name in families if name not in text}
    assert not missing
