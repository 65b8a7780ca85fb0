import tomllib

from real.service import ROOT


def test_alive_and_ready(api):
    alive = api.get("/health")
    assert (alive.status, alive.json["status"]) == (200, "ok")
    assert api.get("/health/ready").status == 200


def test_one_version_everywhere(api):
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert api.get("/health").json["version"] == version
    assert api.get("/").data["version"] == version
    assert api.get("/openapi.json").json["info"]["version"] == version
