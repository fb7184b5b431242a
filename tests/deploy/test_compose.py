"""The files for Docker and Grafana fit together: what is mounted is there, and addresses and paths agree."""

from urllib.parse import urlsplit

import yaml

from deploy.__main__ import ROOT

DEPLOY = ROOT / "deploy"


def read(path: str) -> dict:
    return yaml.safe_load((DEPLOY / path).read_text(encoding="utf-8"))


def mounts(service: dict) -> dict[str, str]:
    """What is mounted by where it is mounted."""
    return {volume.split(":")[1]: volume.split(":")[0] for volume in service["volumes"]}


def test_everything_that_is_mounted_is_there():
    compose = read("compose.yaml")
    for service in compose["services"].values():
        for source in mounts(service).values():
            assert (DEPLOY / source).is_dir() if source.startswith("./") else source in compose["volumes"]


def test_prometheus_finds_its_configuration_and_grafana_finds_prometheus():
    prometheus = read("compose.yaml")["services"]["prometheus"]
    options = dict(word.removeprefix("--").split("=", 1) for word in prometheus["command"])
    folder, _, name = options["config.file"].rpartition("/")
    assert (DEPLOY / mounts(prometheus)[folder] / name).is_file()
    (source,) = read("grafana/provisioning/datasources/prometheus.yml")["datasources"]
    assert urlsplit(source["url"]).netloc == options["web.listen-address"]
    assert source["jsonData"]["timeInterval"] == read("prometheus/prometheus.yml")["global"]["scrape_interval"]


def test_grafana_finds_the_dashboards():
    grafana = read("compose.yaml")["services"]["grafana"]
    (provider,) = read("grafana/provisioning/dashboards/pp1.yml")["providers"]
    folder = grafana["environment"][provider["options"]["path"].removeprefix("$")]
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home.startswith(f"{folder}/")
    assert (DEPLOY / mounts(grafana)[folder] / home.rpartition("/")[2]).is_file()


def test_nothing_can_be_reached_from_other_machines():
    services = read("compose.yaml")["services"]
    assert services["grafana"]["environment"]["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    assert "--web.listen-address=127.0.0.1:9090" in services["prometheus"]["command"]
    assert not any("ports" in service for service in services.values())


def test_the_default_target_is_the_default_address():
    serving = yaml.safe_load((ROOT / "conf/config.yaml").read_text(encoding="utf-8"))["serving"]
    (group,) = yaml.safe_load((DEPLOY / "prometheus/targets.yml").read_text(encoding="utf-8"))
    assert group["targets"] == [f"{serving['host']}:{serving['port']}"]
