import json
import sys

import jsonschema_rs

from leads_service.web.description.openapi import documented_path


def test_the_description_is_valid_openapi(api):
    from openapi_spec_validator import OpenAPIV31SpecValidator  # which no other test's process has to load
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


def test_to_the_description_a_name_is_blank_when_it_is_to_the_service(app):
    name = json.loads(app.extensions["leads_openapi"])["components"]["schemas"]["LeadCreate"]["properties"]["name"]
    judge = jsonschema_rs.validator_for(name)
    blanks = [character for character in map(chr, range(sys.maxunicode + 1)) if not character.strip()]
    assert len(blanks) > 20
    assert not [blank for blank in blanks if judge.is_valid(blank)]
    assert judge.is_valid(" x\x1f")
