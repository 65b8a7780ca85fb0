import json

from openapi_spec_validator import OpenAPIV31SpecValidator

from leads_service.web.description.openapi import documented_path


def test_the_description_is_valid_openapi(api):
    reply = api.get("/openapi.json")
    assert reply.json["openapi"] == "3.1.0"
    OpenAPIV31SpecValidator(reply.json).validate()


def test_every_route_and_method_is_described(app):
    described = {(path, method.upper())
                 for path, operations in json.loads(app.extensions["leads_openapi"])["paths"].items()
                 for method in operations}
    served = {(documented_path(rule), method)
              for rule in app.url_map.iter_rules() if not rule.defaults
              for method in rule.methods - {"HEAD", "OPTIONS"}}
    assert described == served
