# SPDX-License-Identifier: Apache-2.0
"""Every report keeps the contract of reports."""

from __future__ import annotations

import pytest

from accelerate_core.protocols import Context
from accelerate_core.testing.report import MakeReport, ReportContract

from .test_plugins import create


class TestHtml(ReportContract):
    suffix = ".html"

    @pytest.fixture
    def make_report(self, ctx: Context) -> MakeReport:
        return lambda path: create("html", ctx, path=str(path))


class TestMarkdown(ReportContract):
    suffix = ".md"

    @pytest.fixture
    def make_report(self, ctx: Context) -> MakeReport:
        return lambda path: create("markdown", ctx, path=str(path))


class TestCsv(ReportContract):
    suffix = ".csv"

    @pytest.fixture
    def make_report(self, ctx: Context) -> MakeReport:
        return lambda path: create("csv", ctx, path=str(path))


class TestJson(ReportContract):
    suffix = ".json"

    @pytest.fixture
    def make_report(self, ctx: Context) -> MakeReport:
        return lambda path: create("json", ctx, path=str(path))


class TestJunit(ReportContract):
    suffix = ".xml"

    @pytest.fixture
    def make_report(self, ctx: Context) -> MakeReport:
        return lambda path: create("junit", ctx, path=str(path))


class TestTerminal(ReportContract):
    is_file = False

    @pytest.fixture
    def make_report(self, ctx: Context) -> MakeReport:
        return lambda path: create("terminal", ctx)
