# SPDX-License-Identifier: Apache-2.0
"""What CI systems read from the output of a job: commands, and what they take from them.

A line that is a command is read as the system reads it, with its escapes undone; a line that only
looks like one is text.
"""

from __future__ import annotations

import re

import attrs

#: GitHub: "Workflow commands", "Problem matchers" of actions/toolkit: of each kind in a step.
MOST_ANNOTATIONS = 10
#: GitHub, "Workflow commands", Step isolation and limits: bytes of a step's summary.
LARGEST_SUMMARY = 1024 * 1024
_GITHUB = re.compile(r"::(?P<name>[\w-]+)(?: (?P<properties>.*?))?::(?P<text>.*)")
_AZURE = re.compile(r"##vso\[(?P<name>[\w.]+)(?: (?P<properties>[^\]]*))?\](?P<text>.*)")
_TEAMCITY = re.compile(r"##teamcity\[(?P<name>\w+)(?P<rest>(?: .*)?)\]$")
_ATTRIBUTE = re.compile(r"\s+(?:(?P<name>\w+)\s*=\s*)?'(?P<value>(?:\|.|[^'|\n\r])*)'")


@attrs.frozen
class Command:
    """Hold one command: its name, its properties and its text."""

    name: str
    properties: dict[str, str]
    text: str = ""


def github(output: str) -> list[Command]:
    """Read workflow commands of GitHub Actions.

    "Workflow commands for GitHub Actions"; escapes as in `command.ts` of actions/toolkit: `%25`,
    `%0D`, `%0A`, and in properties `%3A`, `%2C`.
    """
    found = []
    for line in _lines(output):
        if match := _GITHUB.fullmatch(line.lstrip()):
            pairs = [pair.partition("=") for pair in (match["properties"] or "").split(",")]
            properties = {name.strip(): _percent(value, True) for name, _, value in pairs if value}
            found.append(Command(match["name"], properties, _percent(match["text"], False)))
    return found


def github_annotations(output: str) -> list[Command]:
    """Return the annotations that a step keeps: ten errors, ten warnings, ten notices."""
    kept: dict[str, list[Command]] = {"error": [], "warning": [], "notice": []}
    for command in github(output):
        if command.name in kept and len(kept[command.name]) < MOST_ANNOTATIONS:
            kept[command.name].append(command)
    return [command for commands in kept.values() for command in commands]


def github_summary(content: bytes) -> str:
    """Return what of `GITHUB_STEP_SUMMARY` is shown: nothing if it is too large."""
    return content.decode() if len(content) <= LARGEST_SUMMARY else ""


def github_outputs(content: str) -> dict[str, str]:
    """Read `GITHUB_OUTPUT`: `name=value`, or `name<<DELIMITER` and lines; ValueError otherwise.

    "Workflow commands for GitHub Actions", Setting an output parameter, Multiline strings.
    """
    values, lines = {}, iter(_lines(content))
    for line in lines:
        if match := re.fullmatch(r"([^=]+?)<<(.+)", line):
            text = []
            for each in lines:
                if each == match[2]:
                    break
                text.append(each)
            else:
                raise ValueError(f"no line {match[2]!r} ends the value of {match[1]!r}")
            values[match[1]] = "\n".join(text)
        elif "=" in line:
            name, _, values[name] = line.partition("=")
        elif line:
            raise ValueError(f"invalid format {line!r}")
    return values


def azure(output: str) -> list[Command]:
    """Read logging commands of Azure Pipelines.

    "Logging commands"; escapes as in `docs/preview/logcommands` of the agent and `command.ts` of
    its task library: `%3B` for `;`, `%0D`, `%0A`, `%5D` for `]`, and `%AZP25` for `%`.
    """
    found = []
    for line in _lines(output):
        if match := _AZURE.search(line):
            pairs = [pair.partition("=") for pair in (match["properties"] or "").split(";")]
            properties = {name.strip(): _azp(value) for name, _, value in pairs if name.strip()}
            found.append(Command(match["name"], properties, _azp(match["text"])))
    return found


def teamcity(output: str) -> list[Command]:
    """Read service messages of TeamCity; ValueError for one that it does not understand.

    "Service Messages", Escaped Values: a bar before what must not stand by itself.
    """
    found = []
    for line in _lines(output):
        if "##teamcity[" not in line:
            continue
        match, properties, end = _TEAMCITY.search(line), {}, 0
        if match is None:
            raise ValueError(f"no service message: {line!r}")
        while pair := _ATTRIBUTE.match(match["rest"], end):
            properties[pair["name"] or ""] = _unbarred(pair["value"])
            end = pair.end()
        if match["rest"][end:].strip():
            raise ValueError(f"not understood from column {end}: {line!r}")
        found.append(Command(match["name"], properties, properties.pop("", "")))
    return found


def _lines(text: str) -> list[str]:
    """Return the lines as runners see them: other separators of Unicode are text."""
    return re.split(r"\r\n|\r|\n", text)


def _percent(text: str, is_property: bool) -> str:
    pairs = [("%0D", "\r"), ("%0A", "\n")]
    pairs += [("%3A", ":"), ("%2C", ",")] if is_property else []
    for escaped, plain in [*pairs, ("%25", "%")]:
        text = text.replace(escaped, plain)
    return text


def _azp(text: str) -> str:
    for escaped, plain in (("%3B", ";"), ("%0D", "\r"), ("%0A", "\n"), ("%5D", "]")):
        text = text.replace(escaped, plain)
    return text.replace("%AZP25", "%")


def _unbarred(text: str) -> str:
    known = {"n": "\n", "r": "\r", "'": "'", "|": "|", "[": "[", "]": "]"}

    def plain(match: re.Match[str]) -> str:
        if match[1]:
            return chr(int(match[1], 16))
        if match[2] not in known:
            raise ValueError(f"no escape: |{match[2]}")
        return known[match[2]]

    if re.search(r"(?<!\|)(?:\|\|)*[\[\]]", text):
        raise ValueError(f"a bracket without a bar: {text!r}")
    units = re.sub(r"\|(?:0x([0-9A-Fa-f]{4})|(.))", plain, text)
    # TeamCity is written in Java: characters beyond the first 65,536 are two of its units.
    return units.encode("utf-16", "surrogatepass").decode("utf-16")
