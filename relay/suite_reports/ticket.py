"""The texts to paste into tickets: one for each path that is broken and should work."""

from relay.report import REPORTS
from relay.suite_outcome import Outcome, SuiteRun
from relay.suite_report import suite_report

RULE = "-" * 72


@suite_report("ticket")
def ticket(run: SuiteRun) -> str:
    """The tickets of all failures, each as `relay check` writes it; a way that is open has one of its own."""
    import relay.reports  # noqa: F401 - enters every form of report into REPORTS

    texts = []
    for one in run.failed:
        assert one.told is not None
        if one.outcome is Outcome.OPEN:
            texts.append(
                f"To: whoever closes this path\nSubject: {one.sentence}\n\n"
                f"{one.told.path} carries Framework packets ({one.told.found.began}). "
                f"It must be closed; expected was {one.expected}.\n"
            )
        else:
            texts.append(REPORTS["ticket"](one.told))
    return f"{RULE}\n".join(texts) if texts else f"{run.name}: {run.headline}\n"
