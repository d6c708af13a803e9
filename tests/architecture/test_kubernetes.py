"""The Kubernetes manifests are what Kubernetes takes, and what the portal and its hardening ask for."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

import kubernetes_validate
import pytest
import yaml

from q2c.core import metrics
from q2c.flows.schedules import SCHEDULES
from tests.architecture.house import ROOT

FOLDER = ROOT / "docs" / "operations" / "kubernetes"
FILES = sorted(path for path in FOLDER.glob("*.yaml") if path.name != "kustomization.yaml")
OBJECTS: list[dict[str, Any]] = [each for path in FILES for each in yaml.safe_load_all(path.read_text())]
POD_MAKERS = [each for each in OBJECTS if each["kind"] in ("Deployment", "Job")]
# What isn't put there with the others: a pod for commands while every program is stopped.
HAND: dict[str, Any] = yaml.safe_load((FOLDER / "hand" / "pod.yaml").read_text())
KUBERNETES = "1.32"


def name_of(each: dict[str, Any]) -> str:
    return f"{each['kind']} {each['metadata']['name']}"


def named(kind: str, name: str) -> dict[str, Any]:
    return next(each for each in OBJECTS if (each["kind"], each["metadata"]["name"]) == (kind, name))


def pod_of(each: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = each["spec"] if each["kind"] == "Pod" else each["spec"]["template"]["spec"]
    return found


def mounts_of_no_claim() -> set[str]:
    """Where every program may write that keeps nothing."""
    folders = []
    for each in POD_MAKERS:
        pod = pod_of(each)
        passing = {volume["name"] for volume in pod["volumes"] if "emptyDir" in volume}
        folders += [{m["mountPath"] for m in c["volumeMounts"] if m["name"] in passing} for c in pod["containers"]]
    assert all(folder == folders[0] for folder in folders)
    return folders[0]


@pytest.mark.parametrize("given", [*OBJECTS, HAND], ids=name_of)
def test_a_manifest_fits_its_schema_and_has_no_unknown_field(given):
    kubernetes_validate.validate(given, KUBERNETES, strict=True)


def test_the_folder_names_each_of_its_files():
    listed = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == [path.name for path in FILES]


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
def test_kubectl_puts_them_together():
    made = subprocess.run(["kubectl", "kustomize", str(FOLDER)], capture_output=True, text=True, timeout=300)
    assert made.returncode == 0, made.stderr
    found = list(yaml.safe_load_all(made.stdout))
    assert sorted(map(name_of, found)) == sorted(map(name_of, OBJECTS))
    assert "image: q2c-portal\n" not in made.stdout  # the folder says where the image is


def test_the_pod_for_commands_is_of_the_same_image_and_has_what_a_restore_needs_but_no_way_out():
    images = [
        yaml.safe_load((folder / "kustomization.yaml").read_text())["images"] for folder in (FOLDER, FOLDER / "hand")
    ]
    assert images[0] == images[1]
    claims = {v["persistentVolumeClaim"]["claimName"] for v in HAND["spec"]["volumes"] if "emptyDir" not in v}
    assert claims == {"q2c-anchors", "q2c-archive"}
    worker = pod_of(named("Deployment", "q2c-reconciliation"))["containers"][0]
    (container,) = HAND["spec"]["containers"]
    assert (container["volumeMounts"], container["envFrom"]) == (worker["volumeMounts"], worker["envFrom"])
    ways = {
        p["metadata"]["name"]
        for p in OBJECTS
        if p["kind"] == "NetworkPolicy" and reaches(p["spec"]["podSelector"], HAND["metadata"]["labels"])
    }
    assert ways == {"q2c-nothing", "q2c-names", "q2c-stores"}


def reaches(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a selector takes something with these labels."""
    assert all(each["operator"] == "In" for each in selector.get("matchExpressions", ()))
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(each["key"]) in each["values"] for each in selector.get("matchExpressions", ())
    )


def test_what_pages_apply_by_a_label_takes_what_they_say():
    """`kubectl apply -l` of the pages: a word that no object carries would take nothing, or everything."""
    labels = {name_of(each): each["metadata"].get("labels", {}) for each in OBJECTS}
    taken = {}
    for page in ("upgrades.md", "backup.md"):
        for asked in re.findall(r"apply -k docs/operations/kubernetes -l (\S+)", (FOLDER.parent / page).read_text()):
            rules = [re.fullmatch(r"(\w+)(!?=)(\w+)`?", rule).groups() for rule in asked.split(",")]
            assert {value for _, _, value in rules} <= {own.get("part") for own in labels.values()}
            taken[asked.rstrip("`")] = {
                name for name, own in labels.items()
                if all((own.get(key) == value) is (sign == "=") for key, sign, value in rules)
            }  # fmt: skip
    assert taken["part=migrate"] == {"Job q2c-migrate"}
    assert taken["part=web"] == {"Deployment q2c-web", "Service q2c-web"}
    assert {name for name in labels if name not in taken["part!=migrate"]} == {"Job q2c-migrate"}
    first = taken["part!=web,part!=doors,part!=flows,part!=reconciliation,part!=beat"]
    assert {name for name in first if name.startswith(("Deployment", "Job"))} == {"Job q2c-migrate"}
    assert {"ConfigMap q2c", "ServiceAccount q2c", "Namespace q2c"} <= first


@pytest.mark.parametrize("given", [*POD_MAKERS, HAND], ids=name_of)
def test_no_program_has_more_rights_than_it_needs(given):
    pod = pod_of(given)
    assert (pod["automountServiceAccountToken"], pod["serviceAccountName"]) == (False, "q2c")
    assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"]) == (True, 10001)
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in [*pod.get("initContainers", ()), *pod["containers"]]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted <= {volume["name"] for volume in pod["volumes"]}
        assert all("env" not in container and "value" not in each for each in container["envFrom"])


def test_secrets_are_named_and_only_the_migration_gets_the_owners():
    assert not [each for each in OBJECTS if each["kind"] == "Secret"]
    for given in [*POD_MAKERS, HAND]:
        containers = pod_of(given)["containers"]
        asked = {each["secretRef"]["name"] for c in containers for each in c["envFrom"] if "secretRef" in each}
        assert asked == ({"q2c", "q2c-owner"} if given["kind"] == "Job" else {"q2c"}), name_of(given)


def test_every_queue_that_schedules_use_has_a_worker_as_compose_has():
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    composed = [s["command"] for s in services.values() if "worker" in s.get("command", ())]
    here = [c["command"] for d in POD_MAKERS for c in d["spec"]["template"]["spec"]["containers"] if "command" in c]
    workers = [command for command in here if "worker" in command]

    def queues(commands):
        return sorted(command[command.index("-Q") + 1] for command in commands)

    assert queues(workers) == queues(composed)
    assert {schedule.queue for schedule in SCHEDULES} <= set(queues(workers))


def test_probes_ask_doors_that_exist_and_need_no_name():
    (web,) = named("Deployment", "q2c-web")["spec"]["template"]["spec"]["containers"]
    asked = [web[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")]
    assert {each["path"] for each in asked} == {"/healthz", "/readyz?for=accept"}
    assert not any("httpHeaders" in each or "host" in each for each in asked)


@pytest.mark.django_db
def test_the_probes_doors_answer_by_a_pods_address(client, settings):
    settings.ALLOWED_HOSTS = [named("ConfigMap", "q2c")["data"]["Q2C_ALLOWED_HOSTS"]]
    assert client.get("/healthz", headers={"host": "10.1.2.3:8000"}).status_code == 200
    assert client.get("/readyz?for=accept", headers={"host": "10.1.2.3:8000"}).status_code == 200


def test_what_scales_is_there_and_goes_by_a_metric_that_is_exported():
    told = {name for name, *_ in metrics.GAUGES}
    scalers = [each for each in OBJECTS if each["kind"] == "HorizontalPodAutoscaler"]
    assert scalers
    for each in scalers:
        target = each["spec"]["scaleTargetRef"]
        assert named(target["kind"], target["name"])
        for metric in each["spec"]["metrics"]:
            if metric["type"] == "External":
                assert metric["external"]["metric"]["name"] in told


def scaled() -> dict[str, int]:
    """What an autoscaler counts, and how many there are at least."""
    scalers = (each["spec"] for each in OBJECTS if each["kind"] == "HorizontalPodAutoscaler")
    return {spec["scaleTargetRef"]["name"]: spec["minReplicas"] for spec in scalers}


def test_what_an_autoscaler_counts_isnt_counted_by_an_apply_too():
    """The apply of each upgrade would put a storm's replicas back."""
    assert set(scaled()) == {"q2c-web", "q2c-flows"}
    for name in scaled():
        assert "replicas" not in named("Deployment", name)["spec"], name


def test_of_what_runs_more_than_once_one_is_always_left():
    least = {e["metadata"]["name"]: e["spec"].get("replicas", 1) for e in POD_MAKERS} | scaled()
    several = {name for name, count in least.items() if count > 1}
    kept = {each["metadata"]["name"] for each in OBJECTS if each["kind"] == "PodDisruptionBudget"}
    assert several == kept
    for name in kept:
        labels = named("Deployment", name)["spec"]["template"]["metadata"]["labels"]
        assert named("PodDisruptionBudget", name)["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_what_was_archived_is_written_and_shown_by_those_who_mount_the_same_volume():
    folder = named("ConfigMap", "q2c")["data"]["Q2C_ARCHIVE"]
    assert named("PersistentVolumeClaim", "q2c-archive")["spec"]["accessModes"] == ["ReadWriteMany"]
    for part in ("q2c-web", "q2c-reconciliation"):
        pod = named("Deployment", part)["spec"]["template"]["spec"]
        (volume,) = [
            v["name"] for v in pod["volumes"] if v.get("persistentVolumeClaim") == {"claimName": "q2c-archive"}
        ]
        assert {"name": volume, "mountPath": folder} in pod["containers"][0]["volumeMounts"]


def test_values_are_of_settings_that_exist():
    known = (ROOT / "docs" / "production.md").read_text()
    assert [name for name in named("ConfigMap", "q2c")["data"] if f"`{name}`" not in known and name != "Q2C_HOME"] == []
