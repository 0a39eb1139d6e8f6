# SPDX-License-Identifier: Apache-2.0
"""TeamCity ("Predefined Build Parameters", "Service Messages", REST API: "Build artifacts")."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

from accelerate_core.markers import hookimpl
from accelerate_core.secrets import Secret
from accelerate_core.texts import clean, cut
from accelerate_core.types import CellStatus, Measurement

from ..api import Api, keep
from ..filling import fill
from ..hookspecs.provider import Provider
from ..hosts.tokens import token_of
from ..values import Finding, Job, Line, Output, Plan, Shown, number_of
from . import github_name

#: Characters of a message, and of a build's status.
_MESSAGE, _STATUS = 4000, 250
_ESCAPES = {"|": "||", "'": "|'", "\n": "|n", "\r": "|r", "[": "|[", "]": "|]"}
_READ = 'Give the user of TEAMCITY_TOKEN the role "Project viewer" in this project.'
_TOKEN = "Make an access token (Your profile, Access Tokens) and set env.TEAMCITY_TOKEN."


class TeamCity(Provider):
    """A build of TeamCity."""

    title = "TeamCity"
    path = ".teamcity/settings.kts"

    def detect(self, environ: Mapping[str, str]) -> Job | None:
        """Read the environment, and the files of build and configuration parameters."""
        if not environ.get("TEAMCITY_VERSION"):
            return None
        known = _parameters(environ)
        server = known.get("teamcity.serverUrl", "").rstrip("/")
        build = known.get("teamcity.build.id")
        branch = known.get("teamcity.pullRequest.source.branch") or known.get(
            "teamcity.build.branch", known.get("vcsroot.branch", "")
        )
        repository = github_name(known.get("vcsroot.url", ""), environ)
        return Job(
            provider="teamcity",
            commit=environ.get("BUILD_VCS_NUMBER") or known.get("build.vcs.number"),
            branch=_short(branch),
            target=_short(known.get("teamcity.pullRequest.target.branch", "")),
            pull_request=number_of(known.get("teamcity.pullRequest.number")),
            job=environ.get("TEAMCITY_BUILDCONF_NAME") or None,
            job_url=environ.get("BUILD_URL")
            or (f"{server}/viewLog.html?buildId={build}" if server and build else None),
            build=environ.get("BUILD_NUMBER") or None,
            repository=repository,
            host="github" if repository else None,
        )

    def annotate(self, findings: Iterable[Finding], environ: Mapping[str, str]) -> list[Output]:
        """Return a message in the log for each."""
        return [
            Line(
                message(
                    "message",
                    text=cut(clean(f"{one.title}: {one.text}".removesuffix(": ")), _MESSAGE),
                    status={"error": "ERROR", "warning": "WARNING"}.get(one.level, "NORMAL"),
                )
            )
            for one in findings
        ]

    def report(self, shown: Shown, environ: Mapping[str, str]) -> list[Output]:
        """Report every cell as a test, and its latency as a statistic of the build."""
        lines = [message("testSuiteStarted", name=clean(shown.name))]
        for one in shown.summary.measurements:
            lines += _test(one)
        lines.append(message("testSuiteFinished", name=clean(shown.name)))
        lines.append(
            message("buildStatus", text=f"{{build.status.text}}; {cut(shown.title, _STATUS)}")
        )
        return [Line(one) for one in lines]

    def baseline(
        self, job: Job, environ: Mapping[str, str], branch: str, name: str, output: Path
    ) -> bool:
        """Fetch what the branch's last good build of this configuration kept."""
        known = _parameters(environ)
        token = token_of(environ, ("TEAMCITY_TOKEN",), "TeamCity", _TOKEN)
        api = _api(known.get("teamcity.serverUrl", ""), token)
        kind = known.get("teamcity.buildType.id", "")
        where = f"buildType:(id:{kind}),branch:(name:{_located(branch)}),status:SUCCESS,count:1"
        path = f"/app/rest/builds/{quote(where, safe=':(),')}/artifacts/content/{quote(name)}"
        with contextlib.closing(api):
            return keep(api, path, output, needs=_READ)

    def upload(self, job: Job, environ: Mapping[str, str], files: Iterable[Path]) -> list[Output]:
        """Return the messages that make the agent publish files."""
        return [Line(f"##teamcity[publishArtifacts '{_escaped(str(path))}']") for path in files]

    def pipeline(self, plan: Plan) -> str:
        """Return settings in Kotlin."""
        return fill("teamcity.kts", plan, _in_kotlin)


class TeamCityPlugin:
    """Make the CI system."""

    name = "teamcity"

    @hookimpl
    def ci_provider_create(self) -> Provider:
        """Return TeamCity."""
        return TeamCity()


def message(kind: str, **values: str) -> str:
    """Return a service message on one line."""
    said = " ".join(f"{name}='{_escaped(value)}'" for name, value in values.items())
    return f"##teamcity[{kind} {said}]"


def _test(one: Measurement) -> Iterator[str]:
    name = clean(str(one.cell))
    yield message("testStarted", name=name)
    said = clean(one.error.message if one.error else str(one.status))
    if one.is_failure:
        hint = one.error.hint if one.error and one.error.hint else ""
        yield message("testFailed", name=name, message=said, details=clean(hint))
    elif one.status is not CellStatus.OK:
        yield message("testIgnored", name=name, message=said)
    yield message("testFinished", name=name, duration=str(round(sum(one.samples_ms))))
    if one.latency_ms is not None:
        yield message(
            "buildStatisticValue", key=f"latency_ms {name}", value=f"{one.latency_ms:.6g}"
        )


def _escaped(text: str) -> str:
    """Escape by the rules of service messages; what is not ASCII by its code."""
    marked = "".join(_ESCAPES.get(char, char) for char in text)
    return "".join(char if " " <= char <= "~" else _coded(char) for char in marked)


def _coded(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"|0x{units[at : at + 2].hex().upper()}" for at in range(0, len(units), 2))


def _short(ref: str) -> str | None:
    """Return a branch's name; None for a tag, and where only TeamCity's word for one is known."""
    if ref.startswith("refs/tags/") or ref == "<default>":
        return None
    return ref.removeprefix("refs/heads/") or None


def _in_kotlin(line: str) -> str:
    """Return a line that a raw string and TeamCity's references to parameters leave as it is."""
    return line.replace("%", "%%").replace("$", "${'$'}")


def _api(url: str, token: Secret) -> Api:
    return Api("TeamCity", url, {"authorization": f"Bearer {token.reveal()}"})


def _located(value: str) -> str:
    """Return a value as locators take one that holds their own marks."""
    return f"({value})" if re.search(r"[,:()]", value) else value


def _parameters(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the build's parameters and the configuration's, which the first file names."""
    known = _properties(environ.get("TEAMCITY_BUILD_PROPERTIES_FILE"))
    return {**_properties(known.get("teamcity.configuration.properties.file")), **known}


def _properties(path: str | None) -> dict[str, str]:
    """Read a Java properties file."""
    if not path:
        return {}
    try:
        text = Path(path).read_text(encoding="latin-1")
    except OSError:
        return {}
    found = {}
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        match = re.match(r"\s*(?![#!])((?:\\.|[^\\\s=:])+)\s*[=:]?\s*(.*)", line)
        if match:
            found[_plain(match[1])] = _plain(match[2])
    return found


def _plain(text: str) -> str:
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), text)
    return re.sub(r"\\(.)", lambda match: {"n": "\n", "t": "\t"}.get(match[1], match[1]), text)
