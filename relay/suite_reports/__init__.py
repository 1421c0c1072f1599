"""Every form of report of a suite, one file each; importing this folder enters them into SUITE_REPORTS."""

from relay.suite_reports import github, html, json_document, junit, markdown, text, ticket

__all__ = ["github", "html", "json_document", "junit", "markdown", "text", "ticket"]
