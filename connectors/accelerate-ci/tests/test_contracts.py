# SPDX-License-Identifier: Apache-2.0
"""Every CI system keeps the contract."""

from __future__ import annotations

from accelerate_ci.testing import ProviderContract

from .servers.environments import CASES


def of(system: str) -> tuple[dict[str, str], ...]:
    return tuple(dict(case.environment) for case in CASES if case.expected["provider"] == system)


class TestGitHub(ProviderContract):
    plugin = "github"
    environments = of("github")


class TestGitLab(ProviderContract):
    plugin = "gitlab"
    environments = of("gitlab")


class TestBitbucket(ProviderContract):
    plugin = "bitbucket"
    environments = of("bitbucket")


class TestAzure(ProviderContract):
    plugin = "azure"
    environments = of("azure")


class TestTeamCity(ProviderContract):
    plugin = "teamcity"
    environments = of("teamcity")


class TestJenkins(ProviderContract):
    plugin = "jenkins"
    environments = of("jenkins")


class TestCircleCi(ProviderContract):
    plugin = "circleci"
    environments = of("circleci")


class TestTravis(ProviderContract):
    plugin = "travis"
    environments = of("travis")
