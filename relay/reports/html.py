"""One self-contained HTML file: no script, no font, no picture is fetched from anywhere."""

import json

from relay.report import Told, document, facts_for_people, fill, report


@report("html")
def html(told: Told) -> str:
    """The page of relay/reports/page.html.j2; everything in it is escaped by the template engine."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("relay", "reports"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    slowest = max((one.seconds for one in told.found.findings), default=0.0) or 1.0
    return environment.get_template("page.html.j2").render(
        told=told,
        parts=_parts(told),
        facts=facts_for_people(told),
        causes=[(cause, fill(cause.title, told), fill(cause.hint, told)) for cause in told.diagnosis.causes],
        notices=[fill(cause.title, told) for cause in told.diagnosis.notices],
        bars=[(one, max(1, round(240 * one.seconds / slowest))) for one in told.found.findings],
        raw=json.dumps(document(told), indent=2, ensure_ascii=False),
    )


def _parts(told: Told) -> list[dict[str, object]]:
    """The boxes of the drawing: where each stands, and whether it is the broken one."""
    names = [
        ("this machine", "client"),
        *((hop, "proxy") for hop in told.found.hops),
        (told.found.target, "server"),
    ]
    at = "client" if told.broken_at == "dns" else told.broken_at
    cause = told.diagnosis.first
    early = cause is None or cause.stage in ("local", "resolve", "connect", "tls")
    link = 0 if early else len(names) - 2
    return [
        {
            "name": name,
            "y": 10 + 80 * index,
            "broken": kind == at,
            "cut_after": at == "way" and index == link,
            "last": index == len(names) - 1,
        }
        for index, (name, kind) in enumerate(names)
    ]
