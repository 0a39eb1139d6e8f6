# SPDX-License-Identifier: Apache-2.0
"""What becomes of a workflow's refusals, and that its address stays secret."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from accelerate_teams.card import card_id
from accelerate_teams.connector import TeamsConnector
from accelerate_teams.plugin import TeamsSettings
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from accelerate_core.errors import ConfigError, ConnectorError, ErrorInfo
from accelerate_core.secrets import Secret
from accelerate_core.settings import structure
from accelerate_core.testing import samples
from accelerate_core.testing.service import Answer

from .server import SIGNATURE, TeamsServer

EVENT = next(event for event in samples.every_event() if event.kind == "regression")
SHAPE = "workflows/0123/triggers/manual/paths/invoke?api-version=1&sp=%2Frun&sv=1.0"


@pytest.fixture
def service() -> Iterator[TeamsServer]:
    with TeamsServer() as running:
        yield running


def made(url: str) -> TeamsConnector:
    return TeamsConnector(TeamsSettings(url=Secret(url)))


def failed(url: str) -> ErrorInfo:
    connector = made(url)
    with pytest.raises(ConnectorError) as caught:
        connector.deliver(EVENT)
    connector.close()
    assert SIGNATURE not in str(caught.value)
    return caught.value.info


def test_a_card_is_posted_with_the_id_of_its_event(service: TeamsServer) -> None:
    connector = made(service.webhook)
    receipts = [connector.deliver(EVENT) for _ in range(2)]
    connector.close()
    assert {one.id for one in receipts} == {card_id(EVENT.key)}
    assert [one["body"][0]["id"] for one in service.cards] == [card_id(EVENT.key)] * 2
    assert service.failed == []
    assert service.requests[0].headers["content-type"] == "application/json; charset=utf-8"


def test_a_workflow_says_what_to_do(service: TeamsServer) -> None:
    assert "Copy `url` anew" in str(failed(service.webhook.replace("not-a", "a")).hint)
    unsigned = failed(service.webhook.partition("&sig")[0])
    assert "DirectApiAuthorizationRequired" in unsigned.message and unsigned.retryable is False
    assert "deleted or turned off" in str(failed(service.webhook.replace("0123", "9")).hint)
    service.state = "Disabled"
    disabled = failed(service.webhook)
    assert disabled.hint == "Turn the workflow on." and disabled.retryable is False
    service.is_for_tenant = True
    assert '"Anyone"' in str(failed(service.webhook).hint)
    assert not service.cards


def test_a_lost_answer_is_told_again_with_the_same_id(service: TeamsServer) -> None:
    service.fail_next("lost")
    assert failed(service.webhook).retryable
    connector = made(service.webhook)
    connector.deliver(EVENT)
    connector.close()
    assert len({one["body"][0]["id"] for one in service.cards}) == 1 < len(service.cards)


def test_the_address_is_logged_nowhere(
    service: TeamsServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    connector = made(service.webhook)
    service.fail_next("reset", "500")
    for _ in range(2):
        with pytest.raises(ConnectorError):
            connector.deliver(EVENT)
    connector.deliver(EVENT)
    connector.check()
    connector.close()
    # httpx writes a quotation mark as %22.
    odd = made(service.webhook.replace(SIGNATURE, 'not"another-s1gnature'))
    with pytest.raises(ConnectorError):
        odd.deliver(EVENT)
    odd.close()
    assert caplog.records and SIGNATURE not in caplog.text
    assert "another-s1gnature" not in caplog.text


def test_an_answer_is_not_repeated(service: TeamsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    said = Answer.of({"error": {"code": f"no workflow at {service.webhook}"}}, 500)
    monkeypatch.setattr(service, "refusal", lambda status: said)
    service.fail_next("500")
    assert failed(service.webhook).message == "answered 500, it failed"


def test_check_posts_nothing(service: TeamsServer) -> None:
    connector = made(service.webhook)
    assert connector.check() == []
    connector.close()
    assert [(one.method, one.path, dict(one.query)) for one in service.requests] == [
        ("GET", "/", {})
    ]


def test_check_names_what_is_wrong(service: TeamsServer) -> None:
    def said(url: str) -> list[str]:
        connector = made(url)
        found = list(connector.check())
        connector.close()
        assert all(SIGNATURE not in one for one in found)
        return found

    (unsigned,) = said(service.webhook.partition("&sig")[0])
    assert "no signature" in unsigned
    (foreign,) = said(f"{service.url}/hooks/1?sig={SIGNATURE}")
    assert "not that of a workflow" in foreign
    with TeamsServer() as gone:
        url = gone.webhook
    (unreachable,) = said(url)
    assert unreachable.startswith("127.0.0.1 cannot be reached. Mend `url`")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "no address"),
        ("teams", "no address"),
        ("https://x.example/a b", "no address"),
        ("https://x.example:99999/", "no address"),
        (f"http://x.example/{SHAPE}&sig={SIGNATURE}", "https://"),
        (f"https://acme.webhook.office.com/webhookb2/{SIGNATURE}", "are gone"),
    ],
)
def test_an_address_that_cannot_be_is_refused(
    monkeypatch: pytest.MonkeyPatch, url: str, words: str
) -> None:
    monkeypatch.setenv("ACCEL_TEST_TEAMS", url)
    with pytest.raises(ConfigError) as caught:
        structure({"url": "env:ACCEL_TEST_TEAMS"}, TeamsSettings, where="connectors.teams")
    said = str(caught.value)
    assert words in said and "key url" in said and SIGNATURE not in said
    assert caught.value.info.accepted and caught.value.info.hint


@pytest.mark.parametrize(
    "host",
    [
        "prod-01.westeurope.logic.azure.com:443",
        "default0.1e.environment.api.powerplatform.com:443/powerautomate/automations/direct",
    ],
)
def test_addresses_of_workflows_are_taken(host: str) -> None:
    from accelerate_teams.address import suspicious

    url = f"https://{host}/{SHAPE}&sig={SIGNATURE}"
    assert SIGNATURE not in repr(TeamsSettings(url=Secret(url)))
    assert list(suspicious(url)) == []


def test_naming_the_plugin_brings_nothing_along() -> None:
    code = "import sys, accelerate_teams.plugin; print('httpx' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_certificate_that_is_not_trusted_is_named(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                context.wrap_socket(connection, server_side=True).close()

        thread = threading.Thread(target=greet)
        thread.start()
        port = listener.getsockname()[1]
        info = failed(f"https://127.0.0.1:{port}/{SHAPE}&sig={SIGNATURE}")
        thread.join()
    assert info.message == "the certificate of 127.0.0.1 is not trusted"
    assert info.retryable is False and "SSL_CERT_FILE" in str(info.hint)


def self_signed(folder: Path) -> Path:
    """Return a file with a key and a certificate that nobody trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    path = folder / "self-signed.pem"
    path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(pem)
    )
    return path
