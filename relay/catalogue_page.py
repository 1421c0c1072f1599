"""docs/causes.md, made from the catalogue: python -m relay.catalogue_page > docs/causes.md."""

from relay.catalogue import MENDERS, causes
from relay.cause import STAGES, Cause, Words

_STAGE_WORDS = {
    "local": "This machine",
    "resolve": "Names",
    "connect": "Connecting",
    "tls": "TLS with the proxy",
    "login": "Logins",
    "proxy": "The proxy's answer",
    "tunnel": "Inside the tunnel",
    "framework": "The first packets",
    "size": "Size",
    "time": "Time",
}


def page() -> str:
    """The whole page."""
    rows = causes()
    lines = [
        "# What can be wrong",
        "",
        f"{len(rows)} causes that `relay check` knows. Made from `relay/causes.toml`:",
        "`python -m relay.catalogue_page > docs/causes.md`.",
        "",
        "A cause is named when all that it *shows* was seen and nothing it *predicts* was seen otherwise.",
        "Words in braces are filled in by a report. *Told apart* says where causes that look the same from",
        "the client can be told apart. What no check asks is given: `settings` by the environment or a PAC",
        "file, `client` and `other-source` by options, `server-record` also by the far end's journal",
        "(`--journal`), `history` by many runs (`--watch`).",
    ]
    for stage in STAGES:
        found = [row for row in rows if row.stage == stage]
        lines += ["", f"## {_STAGE_WORDS[stage]}"]
        for row in found:
            lines += ["", *_section(row)]
    return "\n".join(lines) + "\n"


def _section(cause: Cause) -> list[str]:
    kind = "" if cause.severity == "fault" else " (a note, no fault)"
    lines = [f"### {cause.id}{kind}", "", cause.title, ""]
    lines += [f"- shows: {_words(cause.shows)}"]
    if cause.predicts:
        lines.append(f"- predicts: {_words(cause.predicts)}")
    if cause.contradicted_by:
        lines.append(f"- contradicted by: {_words(cause.contradicted_by)}")
    lines += [f"- who: {MENDERS[cause.mender]}", f"- do: {cause.hint}", f"- send: {cause.sentence}"]
    if cause.alike or cause.teller:
        alike = f" from {', '.join(f'`{one}`' for one in cause.alike)}" if cause.alike else ""
        lines.append(
            f"- told apart{alike}: {cause.distinguishable}{f'; {cause.teller}' if cause.teller else ''}"
        )
    lines.append(f"- sources: {'; '.join(cause.sources)}")
    return lines


def _words(words: Words) -> str:
    return "; ".join(f"`{key}` is {' or '.join(sorted(allowed))}" for key, allowed in words.items())


if __name__ == "__main__":
    print(page(), end="")
