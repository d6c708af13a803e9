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
from tests.architecture.house import PACKAGES, ROOT
from tests.architecture.test_kubernetes import named
from tests.architecture.test_values import COMPOSE, literals

FOLDER = Path(__file__).parents[2] / "docs" / "operations"
RULES = yaml.safe_load((FOLDER / "prometheus-alerts.yaml").read_text())
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((FOLDER / "grafana-dashboard.json").read_text())
RUNBOOKS = (FOLDER / "runbooks.md").read_text()
FOREIGN = {"up"}  # Prometheus' own
_METRIC = re.compile(r"\b(q2c_[a-z0-9_]+)(\{[^}]*\})?")
_LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"")
_BY = re.compile(r"\bby \(([^)]*)\)")
# What is before a bracket that opens: a function, or an aggregation with the labels that it goes by.
_OPENS = re.compile(r"(\w+)\s*(?:\b(by|without)\s*\(([^)]*)\)\s*)?$")
_LARGEST = {"max", "min"}
_COUNTED_BY_EACH = "q2c_http_"  # by each web process: it adds up
_BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.S)
_SAID = re.compile(r"(?<![*\w])\*([^*\n]+)\*(?![*\w])")  # what stands on a screen


def expressions():
    """Every query of the dashboard and of the alerts, by where it stands."""
    found = {alert["alert"]: alert["expr"] for alert in ALERTS}
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            found[f"{panel['title']} {target['refId']}"] = target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            found[variable["name"]] = variable["definition"]
    for block in blocks("deployment.md"):
        for rule in block.get("externalRules", ()):
            series = rule["seriesQuery"]
            found[f"adapter, {series}"] = rule["metricsQuery"].replace("<<.Series>>", series)
    return found


def blocks(page):
    """The YAML that a page shows."""
    return [yaml.safe_load(text) for kind, text in _BLOCK.findall((FOLDER / page).read_text()) if kind == "yaml"]


def around(expression, at):
    """The functions and aggregations around a place, the innermost first: name, labels, and whether it leaves those out
    (`without`)."""
    opened = []
    for index, sign in enumerate(expression[:at]):
        if sign == "(":
            opened.append(index)
        elif sign == ")":
            opened.pop()
    found = []
    for index in reversed(opened):
        before = _OPENS.search(expression[:index])
        if before and before[1] not in ("by", "without"):
            labels = {label.strip() for label in (before[3] or "").split(",")} - {""}
            found.append((before[1], labels, before[2] == "without"))
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


def wrongly_put_together(expression, told):
    """Metrics that every web server tells alike and that this query counts once for each of them, whatever a scrape
    adds (instance, pod, endpoint): the largest is to be taken first, by all labels of their own where a sum follows."""
    wrong = []
    for found in _METRIC.finditer(expression):
        if found[1].startswith(_COUNTED_BY_EACH) or found[1] not in told:
            continue
        outer = [each for each in around(expression, found.start()) if each[0] not in ("rate", "increase")]
        name, by, leaves_out = outer[0] if outer else ("", set(), False)
        is_summed = any(each[0] == "sum" for each in outer[1:])
        if name in ("absent", "label_values"):
            continue
        if name not in _LARGEST or leaves_out or (is_summed and by != told[found[1]]):
            wrong.append(found[0])
    return wrong


@pytest.mark.parametrize(
    ("expression", "is_right"),
    [
        ("sum(max without (instance) (q2c_work_items))", False),  # with a label `pod` it's so many times too much
        ("sum(q2c_work_items)", False),
        ("q2c_work_oldest_seconds > 900", False),  # an alert for each web server
        ("sum(max by (flow) (q2c_open_transactions))", False),  # of its states only the largest
        ("sum by (flow) (max by (flow, connection, outcome) (increase(q2c_documents_total[15m]))) > 5", True),
        ("max by (flow) (q2c_work_oldest_seconds) > 900", True),
        ("max(q2c_inbox_waiting) > 1000", True),
        ('absent(q2c_living{part="beat"})', True),
        ("sum(rate(q2c_http_requests_total[5m])) > 0.1", True),
    ],
)  # fmt: skip
def test_a_query_is_judged_by_how_it_puts_together_what_every_web_server_tells_alike(expression, is_right, told):
    assert (wrongly_put_together(expression, told) == []) is is_right


def test_no_query_counts_a_thing_once_for_each_web_server(told):
    assert {where: wrong for where, e in expressions().items() if (wrong := wrongly_put_together(e, told))} == {}
    assert 'adapter, q2c_work_items{flow!=""}' in expressions()


def test_the_alerts_job_is_the_one_that_each_scrape_that_is_shown_gives():
    web = named("Deployment", "q2c-web")["spec"]["template"]
    labels = web["metadata"]["labels"]
    (container,) = web["spec"]["containers"]
    ports = {port["name"] for port in container["ports"]}
    assert {job for alert in ALERTS for job in re.findall(r'job="(\w+)"', alert["expr"])} == {"q2c"}
    shown = 0
    for block in blocks("monitoring.md"):
        for config in block.get("scrape_configs", ()):
            assert config["job_name"] == "q2c"
            assert "credentials" in config["authorization"]
            for target in (t for each in config.get("static_configs", ()) for t in each["targets"]):
                assert target in {":".join(p.split(":")[:2]) for p in COMPOSE["services"]["web"]["ports"]}
            for rule in config.get("relabel_configs", ()):
                if rule["source_labels"][0].startswith("__meta_kubernetes_pod_label_"):
                    sources = [s.removeprefix("__meta_kubernetes_pod_label_") for s in rule["source_labels"]]
                    assert rule["regex"] == ";".join(labels[s] for s in sources)
                if rule["source_labels"] == ["__meta_kubernetes_pod_container_port_name"]:
                    assert rule["regex"] in ports
            shown += 1
        if block.get("kind") == "PodMonitor":
            assert labels[block["spec"]["jobLabel"]] == "q2c"
            assert block["spec"]["selector"]["matchLabels"].items() <= labels.items()
            (endpoint,) = block["spec"]["podMetricsEndpoints"]
            assert endpoint["port"] in ports
            assert endpoint["authorization"]["credentials"]["key"] in literals(
                endpoint["authorization"]["credentials"]["name"]
            )
            shown += 1
    assert shown == 3


def test_what_a_page_has_somebody_look_for_stands_on_a_screen_or_heads_a_page():
    files = [p for folder in PACKAGES for p in (ROOT / folder).rglob("*.py") if "sandbox" not in p.parts]
    files += (ROOT / "templates").rglob("*.html")
    words = " ".join(path.read_text() for path in files)
    heads = " ".join(re.findall(r"^## .*$", (ROOT / "docs" / "production.md").read_text(), re.M))
    there = f"{words} {words.replace('_', ' ')} {heads}".replace("’", "'").lower()
    for page in FOLDER.glob("*.md"):
        said = {each.removesuffix(" …") for each in _SAID.findall(page.read_text())}
        assert {each for each in said if each.replace("’", "'").lower() not in there} == set(), page.name


def test_a_tab_that_a_runbook_names_is_one():
    named_tabs = set(re.findall(r"tab \*([^*]+)\*", RUNBOOKS))
    assert named_tabs
    tabs = " ".join(
        views
        for path in (ROOT / "templates").rglob("*.html")
        for views in re.findall(r'<nav class="views".*?</nav>', path.read_text(), re.S)
    )
    assert {tab for tab in named_tabs if f">{tab} <" not in tabs and f">{tab}<" not in tabs} == set()
