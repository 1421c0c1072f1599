"""Every form of report, one file each; importing this folder enters them all into relay.report.REPORTS."""

from relay.reports import html, json_document, junit, markdown, terminal, ticket

__all__ = ["html", "json_document", "junit", "markdown", "terminal", "ticket"]
