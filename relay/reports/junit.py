"""For CI servers: the subset of JUnit XML that Jenkins and GitLab both read."""

import re
from xml.etree import ElementTree as Xml

from relay.diagnosis import Verdict
from relay.report import Told, cause_lines, report

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot carry, not even escaped (section 2.2)."""


@report("junit")
def junit(told: Told) -> str:
    """One suite for the path; one case for each question, and one for the path as a whole."""
    path = f"framework-relay.{told.found.target}"
    verdict = told.diagnosis.verdict
    failures, errors = int(verdict is Verdict.BROKEN), int(verdict is Verdict.UNTESTED)
    untested = [one for one in told.found.findings if not one.is_answered]
    counts = {
        "tests": len(told.found.findings) + 1,
        "failures": failures,
        "errors": errors,
        "skipped": len(untested),
    }
    root = Xml.Element("testsuites")
    attributes = {
        "name": xml_text(told.path),
        "time": f"{told.found.seconds:.3f}",
        "timestamp": told.found.began[:19],
    }
    suite = Xml.SubElement(
        root, "testsuite", {**attributes, **{key: str(value) for key, value in counts.items()}}
    )
    whole = Xml.SubElement(suite, "testcase", classname=path, name="path", time=f"{told.found.seconds:.3f}")
    if failures or errors:
        cause = told.diagnosis.first
        kind = cause.id if cause else "unknown"
        tag = "failure" if failures else "error"
        child = Xml.SubElement(whole, tag, message=xml_text(told.headline), type=kind)
        lines = [line for one in told.diagnosis.causes for line in cause_lines(one, told)]
        child.text = xml_text("\n".join([told.headline, *lines, told.sentence]))
    for number, one in enumerate(told.found.findings):
        stamp = f"{one.seconds:.3f}"
        case = Xml.SubElement(suite, "testcase", classname=path, name=f"{number} {one.question}", time=stamp)
        if one.is_answered:
            Xml.SubElement(case, "system-out").text = xml_text(f"{one.outcome}: {one.words}")
        else:
            Xml.SubElement(case, "skipped", message=xml_text(one.words))
    return document_text(root)


def document_text(root: Xml.Element) -> str:
    """The file of a tree."""
    Xml.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + Xml.tostring(root, encoding="unicode") + "\n"


def xml_text(text: str) -> str:
    """`text` without what XML cannot carry."""
    return _ILLEGAL.sub("?", text)
