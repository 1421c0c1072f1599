"""JUnit XML as CI servers take it.

`junit.xsd` says in our words what the schema of Jenkins' xUnit plugin (its junit-10.xsd) demands: which
elements stand where, which attributes they have, and which of these must be there. GitLab reads a part of the
same, and wants every case of a suite to have a name of its own.
"""

import functools
from pathlib import Path
from xml.etree import ElementTree as Xml

import xmlschema


@functools.cache
def schema() -> xmlschema.XMLSchema:
    return xmlschema.XMLSchema(str(Path(__file__).with_name("vectors") / "junit.xsd"))


def assert_valid(text: str) -> Xml.Element:
    """Check a report against the schema, and the names and counts that no schema can; return its root."""
    root = Xml.fromstring(text)
    schema().validate(root)
    for suite in root.iter("testsuite"):
        cases = suite.findall("testcase")
        names = [(case.get("classname"), case.get("name")) for case in cases]
        assert len(names) == len(set(names))
        counts = {
            kind: sum(case.find(tag) is not None for case in cases)
            for kind, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))
        }
        told = {kind: int(suite.get(kind, "0")) for kind in counts}
        assert {"tests": len(cases), **counts} == {"tests": int(suite.get("tests", "-1")), **told}
    return root


def failing_rows(text: str) -> dict[str, str | None]:
    """Check the report of a suite, and return the rows that fail, as ROUTE/TARGET, with their causes."""
    return {
        f"{case.get('classname', '').rpartition('.')[2]}/{case.get('name')}": failure.get("type")
        for case in assert_valid(text).iter("testcase")
        for failure in case.findall("failure")
    }
