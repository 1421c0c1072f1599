"""For CI servers: the subset of JUnit XML that Jenkins and GitLab both read.

Source: the XSD that Jenkins' xUnit plugin keeps (junit-10.xsd); GitLab's manual on unit test reports: test
cases are told apart by suite, class name and name, and it shows the text of a failure, not its message.
"""

from xml.etree import ElementTree as Xml

from relay.report import cause_lines
from relay.reports.junit import document_text, xml_text
from relay.suite_outcome import FAILED, Outcome, Result, SuiteRun
from relay.suite_report import suite_report


@suite_report("junit")
def junit(run: SuiteRun) -> str:
    """One suite for each route; one case for each check of a target, one more for what a baseline says."""
    root = Xml.Element("testsuites", name=xml_text(run.name), time=f"{run.seconds:.3f}")
    for route in dict.fromkeys(one.cell.route_name for one in run.results):
        results = [one for one in run.results if one.cell.route_name == route]
        _suite(root, run, route, results)
    return document_text(root)


def _suite(root: Xml.Element, run: SuiteRun, route: str, results: list[Result]) -> None:
    class_name = f"{run.name}.{route}".replace("/", "_")
    cells = {one.cell.name: one.cell for one in results}.values()
    changed = [cell for cell in cells if run.changes_of(cell)]
    unseen = _not_compared(results) if run.baseline else set()
    counts = {
        "tests": len(results) + (len(cells) if run.baseline else 0),
        "failures": sum(one.outcome in FAILED for one in results) + len(changed),
        "errors": sum(one.outcome is Outcome.UNTESTED for one in results),
        "skipped": sum(one.outcome is Outcome.NOT_RUN for one in results) + len(unseen),
    }
    suite = Xml.SubElement(
        root,
        "testsuite",
        {
            "name": xml_text(f"{run.name}: {route}"),
            **{key: str(value) for key, value in counts.items()},
            "time": f"{sum(one.seconds for one in results):.3f}",
            "timestamp": run.began[:19],
        },
    )
    properties = Xml.SubElement(suite, "properties")
    Xml.SubElement(properties, "property", name="route", value=xml_text(_way(results[0])))
    for one in results:
        _case(suite, class_name, one)
    for cell in cells if run.baseline else ():
        case = Xml.SubElement(suite, "testcase", classname=class_name, name=f"{cell.target_name} baseline")
        if changes := run.changes_of(cell):
            said = "; ".join(one.words for one in changes)
            failure = Xml.SubElement(case, "failure", message=xml_text(said), type=changes[0].kind)
            failure.text = xml_text(f"{cell.name}: {said}")
        elif cell.name in unseen:
            Xml.SubElement(case, "skipped", message="not compared: it was not checked, or could not be")


def _not_compared(results: list[Result]) -> set[str]:
    """The paths that no check has seen, or that could not be tested: nothing of them is better or worse."""
    seen = {one.cell.name for one in results if one.outcome is not Outcome.NOT_RUN}
    doubtful = {one.cell.name for one in results if one.outcome is Outcome.UNTESTED}
    return {one.cell.name for one in results} - seen | doubtful


def _way(result: Result) -> str:
    hops = " -> ".join(str(hop) for hop in result.cell.route.hops)
    return hops or "direct"


def _case(suite: Xml.Element, class_name: str, one: Result) -> None:
    name = one.cell.target_name + (f" run {one.run}" if one.run > 1 else "")
    case = Xml.SubElement(suite, "testcase", classname=class_name, name=name, time=f"{one.seconds:.3f}")
    if one.outcome is Outcome.NOT_RUN:
        Xml.SubElement(case, "skipped", message=xml_text(one.sentence))
        return
    assert one.told is not None
    if one.outcome is Outcome.EXPECTED:
        Xml.SubElement(case, "system-out").text = xml_text(f"{one.sentence}\n{one.told.headline}")
        return
    tag = "error" if one.outcome is Outcome.UNTESTED else "failure"
    child = Xml.SubElement(case, tag, message=xml_text(one.sentence), type=one.cause)
    causes = [line for cause in one.told.diagnosis.causes for line in cause_lines(cause, one.told)]
    child.text = xml_text("\n".join([one.sentence, one.told.path, *causes, one.told.sentence]))
