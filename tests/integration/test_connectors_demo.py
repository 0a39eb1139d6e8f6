# SPDX-License-Identifier: Apache-2.0
"""One pipeline file tells everybody of a real slow-down, once, and nobody a secret."""

from __future__ import annotations

import base64
import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import duckdb
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from tools.connectors_demo import Story, environment, keep, tell  # `tools` is not installed
from tools.insights_demo import accel_here
from tools.places import FILE, Places, places


def test_everybody_hears_of_a_slow_down_once_and_of_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("ACCELERATE_CACHE_DIR", str(tmp_path / "cache"))
    project = tmp_path / "project"
    project.mkdir()
    (tmp_path / "services").mkdir()
    story = Story(good=8, options=("--only", "cpu"))
    with places(tmp_path / "services") as here:
        told = tell(project, here, story, accel_here)
        assert not (wrong := told.wrong()), "\n".join([*wrong, told.printed])
        keep(tmp_path, told)
        assert "data:image/png;base64," in (tmp_path / "mail.html").read_text()

        monkeypatch.chdir(project)
        secrets, job = here.secrets, here.job("refused", told.planted)
        _refuse(here)
        with environment(job):
            checked = _printed("connectors", "check", "pipeline.toml")
            ran = _printed("run", "pipeline.toml", "--only", "cpu")
            mail = _printed("notify", "test", "pipeline.toml", "--to", "email")
            card = _printed("notify", "test", "pipeline.toml", "--to", "teams")
            sent = "".join(_sent(here))
    with environment(job):
        gone = _printed("connectors", "check", "pipeline.toml")
        outbox = _printed("outbox", "list", "--all")
    assert checked.count(": not ok") == 5, checked
    assert "hint: Mend `user` and `password`" in mail and "hint: Turn the workflow on" in card
    assert outbox.count(" dead ") == 4, outbox
    assert gone.count(": not ok") == 7, gone
    seen = {
        "what was printed": "".join([told.printed, checked, ran, mail, card, gone, outbox]),
        "what services were sent": sent,
        "the database": "".join(_rows(project / "results.duckdb")),
        **{
            str(path): path.read_bytes().decode("latin-1")
            for path in tmp_path.rglob("*")
            if path.is_file()
        },
    }
    # What was looked through is what was told.
    assert "became worse" in seen["the database"] and "became worse" in told.printed
    assert [
        (name, place)
        for name, forms in _forms(secrets).items()
        for place, text in seen.items()
        if any(form in text for form in forms)
    ] == []


def test_the_page_shows_what_the_file_says_of_connectors() -> None:
    text = FILE.read_text()
    page = (FILE.parents[1] / "docs/connectors.md").read_text()
    assert f"```toml\n{text[text.index('[delivery]') :]}```" in page


def _refuse(here: Places) -> None:
    """Let each service refuse the secret that it took."""
    here.jira.token = here.testrail.key = here.mail.password = "another"
    here.slack.revoked, here.teams.state = "token_revoked", "Disabled"
    here.github.read_only()


def _printed(*words: str) -> str:
    """Return what a command prints with all there is in the log, however it ends."""
    try:
        return accel_here("--debug", *words)
    except SystemExit as failed:
        return str(failed)


def _sent(here: Places) -> Iterator[str]:
    """Yield what services were sent, but for headers and the query that tells a workflow."""
    for service in (here.jira, here.slack, here.testrail, here.teams, here.github):
        for request in service.requests:
            yield f"{request.path} {request.body.decode('latin-1')}"
    for mail in here.mail.messages:
        yield str(mail.message)


def _rows(path: Path) -> Iterator[str]:
    """Yield all that a database holds: it is compressed in the file."""
    with contextlib.closing(duckdb.connect(str(path), read_only=True)) as database:
        tables = database.execute("SELECT schema_name, table_name FROM duckdb_tables()").fetchall()
        for schema, table in tables:
            yield repr(database.execute(f'FROM "{schema}"."{table}"').fetchall())


def _forms(secrets: Mapping[str, str]) -> Mapping[str, set[str]]:
    """Return how each secret may be written; that of a login is sent with the user."""
    wanted = {**secrets, "signature of Teams": secrets["TEAMS_WORKFLOW"].rpartition("sig=")[2]}
    users = ("ci@example.com:", "\0bench@example.com\0", "x-access-token:", "")
    return {
        name: {
            one,
            quote(one, safe=""),
            *(base64.b64encode(f"{user}{one}".encode()).decode().rstrip("=") for user in users),
        }
        for name, one in wanted.items()
    }
