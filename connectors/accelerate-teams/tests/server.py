# SPDX-License-Identifier: Apache-2.0
"""A workflow of Power Automate that posts cards to a channel of Teams, as it is documented.

Sources: "Create incoming webhooks with Workflows for Microsoft Teams", "Receive and respond to
inbound HTTPS calls to workflows in Azure Logic Apps" (202 without a body where the workflow has no
response action), "Microsoft Teams" of the connector reference ("message size limit": about 28 kB;
the action, not the trigger, fails with "Request entity too large"), "Secure access and data" of
Azure Logic Apps (`sp`, `sv`, `sig`). The error bodies of the trigger are those that callers report
in public issues; the code of 429 is documented nowhere.
"""

from __future__ import annotations

import json
from typing import Any

import attrs

from accelerate_core.testing.service import Answer, Request, Service, route

from . import cards

WORKFLOW, SIGNATURE = "0123456789abcdef0123456789abcdef", "not-a-s1gnature_of-anything"
#: "About 28 KB", with all texts, pictures, links and tables.
MOST_BYTES = 28 * 1024
CARD = "application/vnd.microsoft.card.adaptive"


@attrs.frozen
class FailedRun:
    """Hold why a workflow that was triggered posted nothing: callers are told 202 all the same."""

    code: str
    message: str


class TeamsServer(Service):
    """Serve one workflow and the channel it posts to.

    Set `state` to "Disabled" or "Deleted", and `is_for_tenant` for a workflow whose owner lets only
    people of the own organisation trigger it.
    """

    #: Whole seconds.
    retry_after_s: float = 0

    def __init__(self) -> None:
        super().__init__()
        self.state = "Enabled"
        self.is_for_tenant = False
        self.cards: list[dict[str, Any]] = []
        self.failed: list[FailedRun] = []
        self._runs = 0

    @property
    def webhook(self) -> str:
        """The URL that the workflow shows: whoever has it can post."""
        return (
            f"{self.url}/workflows/{WORKFLOW}/triggers/manual/paths/invoke?api-version=2016-06-01"
            f"&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig={SIGNATURE}"
        )

    def refusal(self, status: int) -> Answer:
        """Word an error as workflows do."""
        code, message = {
            401: ("AuthorizationFailed", "The authentication credentials are not valid."),
            403: ("AuthorizationFailed", "The client is not allowed to call this workflow."),
            404: ("WorkflowNotFound", f"The workflow '{WORKFLOW}' could not be found."),
            409: ("Conflict", "The request conflicts with another one."),
            413: ("RequestEntityTooLarge", "Request entity too large"),
            429: ("TooManyRequests", "Too many requests were made to this workflow."),
            502: ("BadGateway", "The service had no answer in time."),
            503: ("ServiceUnavailable", "The service is not available now."),
        }.get(status, ("InternalServerError", "An error occurred. Try again later."))
        return _error(status, code, message)

    @route(
        "POST",
        r"(?:/powerautomate/automations/direct)?/workflows/(\w+)/triggers/manual/paths/invoke",
    )
    def invoke(self, request: Request) -> Answer:
        """Follow "Receive and respond to inbound HTTPS calls to workflows": 202, and then a run."""
        assert request.match is not None
        if "api-version" not in request.query:
            message = (
                "The api-version query parameter (?api-version=) is required for all requests."
            )
            return _error(400, "MissingApiVersionParameter", message)
        if request.match[1] != WORKFLOW:
            return self.refusal(404)
        signature = request.query.get("sig", [""])[-1]
        if self.is_for_tenant or not signature:
            scheme = "OAuth" if self.is_for_tenant else "Shared Access"
            message = f"The request must be authenticated only by {scheme} scheme."
            return _error(401, "DirectApiAuthorizationRequired", message)
        signed = {"sv": ["1.0"], "sp": ["/triggers/manual/run"], "sig": [SIGNATURE]}
        if any(request.query.get(name) != value for name, value in signed.items()):
            return self.refusal(401)
        if self.state != "Enabled":
            message = f"Could not execute workflow '{WORKFLOW}' trigger 'manual' with state "
            message += f"'{self.state}': trigger is not enabled."
            return _error(400, "WorkflowTriggerIsNotEnabled", message)
        body: Any = None
        if request.headers.get("content-type", "").startswith("application/json"):
            try:
                body = request.json()
            except ValueError:
                message = "The request content is not valid and could not be deserialized."
                return _error(400, "InvalidRequestContent", message)
        self._runs += 1
        self._run(body)
        return Answer(status=202, headers={"x-ms-workflow-run-id": f"run{self._runs:06d}"})

    def _run(self, body: Any) -> None:
        """Follow template "Send webhook alerts to a channel": post the card of each attachment."""
        attachments = body.get("attachments") if isinstance(body, dict) else None
        if not isinstance(attachments, list):
            message = (
                "The result of the evaluation of 'foreach' expression 'attachments' is no array"
            )
            self.failed.append(FailedRun("ExpressionEvaluationFailed", message))
            return
        for one in attachments:
            card: Any = one.get("content") if isinstance(one, dict) else None
            found = cards.problems(card)
            if body.get("type") != "message":
                found.append("type: must be message")
            if not isinstance(one, dict) or one.get("contentType") != CARD:
                found.append(f"attachments.contentType: must be {CARD}")
            if found:
                self.failed.append(FailedRun("BadRequest", "; ".join(found)))
            elif (
                len(json.dumps(card, ensure_ascii=False, separators=(",", ":")).encode())
                > MOST_BYTES
            ):
                self.failed.append(FailedRun("RequestEntityTooLarge", "Request entity too large"))
            else:
                self.cards.append(card)


def _error(status: int, code: str, message: str) -> Answer:
    return Answer.of({"error": {"code": code, "message": message}}, status)
