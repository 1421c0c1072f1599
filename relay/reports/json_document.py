"""For machines; docs/check.schema.json describes it, and `relay check --from FILE` reads it again."""

import json

from relay.report import Told, document, report


@report("json")
def json_document(told: Told) -> str:
    """The whole record and its diagnosis."""
    return json.dumps(document(told), indent=2, ensure_ascii=False) + "\n"
