# SPDX-License-Identifier: Apache-2.0
"""A message as a mail (RFC 5322, 2045 to 2049). Pure.

Everything is in the standard library: `email` writes headers and parts as the RFCs want them, and
refuses a line break in a header.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP

from accelerate_core.delivering.message import Message
from accelerate_core.texts import one_line

from .fitting import fitted
from .page import page
from .plain import plain

#: Seven bits cross every server, whatever it says of itself.
_POLICY = SMTP.clone(cte_type="7bit")

Named = tuple[str, str]  #: name and address


def compose(
    message: Message,
    *,
    sender: Named,
    to: Sequence[Named],
    now: datetime,
    has_files: bool = True,
) -> EmailMessage:
    """Return the mail: the same message has the same Message-ID, whenever it is told."""
    letter = fitted(message, has_files=has_files)
    domain = sender[1].partition("@")[2]
    own_id, subject_id = (_id(name, domain) for name in (message.key, f"subject:{message.subject}"))
    mail = EmailMessage(policy=_POLICY)
    mail["From"] = _address(sender)
    mail["To"] = [_address(one) for one in to]
    mail["Subject"] = letter.message.title
    mail["Date"] = now
    mail["Message-ID"] = f"<{own_id}>"
    # A mail that nobody got, but all about one subject name it: programs show them as one thread.
    mail["In-Reply-To"] = mail["References"] = f"<{subject_id}>"
    # RFC 3834: no answer from who is on holiday.
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(plain(letter))
    content_ids = [f"picture-{n}.{own_id}" for n in range(len(letter.pictures))]
    mail.add_alternative(page(letter, content_ids), subtype="html")
    (_, html) = mail.iter_parts()
    for one, content_id in zip(letter.pictures, content_ids, strict=True):
        main, _, sub = one.media_type.partition("/")
        html.add_related(
            one.data,
            main,
            sub,
            cid=f"<{content_id}>",
            disposition="inline",
            filename=_file_name(one.name),
        )
    for one in letter.files:
        main, _, sub = one.media_type.partition("/")
        mail.add_attachment(
            one.data, main or "application", sub or "octet-stream", filename=_file_name(one.name)
        )
    return mail


def _id(text: str, domain: str) -> str:
    return f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.accelerate@{domain}"


def _address(one: Named) -> Address:
    return Address(display_name=one[0], addr_spec=one[1])


def _file_name(name: str) -> str:
    """Return a name without folders and line breaks."""
    return one_line(name).replace("\\", "/").rpartition("/")[2] or "file"
