"""The Kubernetes manifest without a cluster: its own schemas, and that its parts fit each other and the program."""

from typing import Any

import kubernetes_validate
import pytest
import yaml

from deploy.__main__ import ROOT
from pp1_orchestrator.server.auth import HEALTH_PATHS

MANIFEST = ROOT / "deploy/kubernetes/pp1.yaml"
VERSIONS = ("1.30", "1.37")
CONFIG = yaml.safe_load((ROOT / "conf/config.yaml").read_text(encoding="utf-8"))


def objects() -> dict[str, dict[str, Any]]:
    """By kind."""
    return {one["kind"]: one for one in yaml.safe_load_all(MANIFEST.read_text(encoding="utf-8"))}


def pod() -> dict[str, Any]:
    return objects()["Deployment"]["spec"]["template"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ["PersistentVolumeClaim", "Deployment", "Service", "PodDisruptionBudget"])
def test_every_object_is_what_kubernetes_expects(kind, version):
    kubernetes_validate.validate(objects()[kind], version, strict=True)


def test_a_mistyped_field_would_be_seen():
    budget = objects()["PodDisruptionBudget"]
    budget["spec"]["maxUnavailble"] = 0
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(budget, VERSIONS[0], strict=True)


def test_service_and_budget_mean_the_pod_of_the_deployment():
    labels, spec = pod()["metadata"]["labels"], objects()
    assert spec["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert spec["Service"]["spec"]["selector"] == labels
    assert spec["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    claims = [volume["persistentVolumeClaim"]["claimName"] for volume in pod()["spec"]["volumes"][:1]]
    assert claims == [spec["PersistentVolumeClaim"]["metadata"]["name"]]


def test_probes_ask_what_answers_without_a_token_at_the_port_of_the_program():
    (container,) = pod()["spec"]["containers"]
    (port,) = container["ports"]
    assert port["containerPort"] == CONFIG["serving"]["port"] == objects()["Service"]["spec"]["ports"][0]["port"]
    probes = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {probe["port"] for probe in probes.values()} == {port["name"]}
    assert {probe["path"] for probe in probes.values()} == HEALTH_PATHS
    assert probes["livenessProbe"]["path"] == "/healthz"


def test_the_program_has_time_to_end_and_one_pod_has_the_volume():
    deployment = objects()["Deployment"]["spec"]
    assert pod()["spec"]["terminationGracePeriodSeconds"] > CONFIG["deadlines"]["stop"]
    assert (deployment["replicas"], deployment["strategy"]["type"]) == (1, "Recreate")


def test_the_token_is_only_in_the_secret():
    (container,) = pod()["spec"]["containers"]
    (variable,) = container["env"]
    assert f"serving.token=${{oc.env:{variable['name']}}}" in container["args"]
    assert "secretKeyRef" in variable["valueFrom"]
    assert "value" not in variable
