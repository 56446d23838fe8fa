"""Training logs, JSON lines of every term over the steps: ``read`` · ``marks`` · ``sample`` · ``names`` · ``page``."""

from __future__ import annotations

from ava.report.log.page import log_page
from ava.report.log.read import Run, Series, read_run

__all__ = ["Run", "Series", "log_page", "read_run"]
