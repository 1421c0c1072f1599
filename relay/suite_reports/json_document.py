"""For machines; docs/suite.schema.json describes it."""

import json

from relay.suite_outcome import SuiteRun
from relay.suite_report import suite_document, suite_report


@suite_report("json")
def json_document(run: SuiteRun) -> str:
    """The whole run; each check as `relay check --json` writes it."""
    return json.dumps(suite_document(run), indent=2, ensure_ascii=False) + "\n"
