def test_alive_and_ready(api):
    alive = api.get("/health")
    assert (alive.status, alive.json["status"]) == (200, "ok")
    assert api.get("/health/ready").status == 200
