# SPDX-License-Identifier: Apache-2.0
"""Pictures of the mail and the card of `make connectors-demo`, for `docs/connectors.md`.

`python -m tools.messages [FOLDER]`. Chromium takes them; the card is drawn by Microsoft's renderer
(npm `adaptivecards`, MIT), with colours near those of Teams.
"""

from __future__ import annotations

import base64
import email
import email.policy
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TOLD = ROOT / ".build/connectors-demo"
RENDERER = ("adaptivecards@3.0.6", "markdown-it@14.1.0")
_SCALE = 1.5

_CARD = """\
<!doctype html><meta charset="utf-8">
<style>
body {{ margin: 0; padding: 16px; background: #f5f5f5; }}
#card {{ max-width: 640px; background: #fff; border-radius: 6px; overflow: hidden;
  box-shadow: 0 1px 4px rgba(0, 0, 0, .2); }}
.ac-pushButton {{ font: 600 14px 'Segoe UI', sans-serif; padding: 6px 14px; color: #242424;
  background: #fff; border: 1px solid #d1d1d1; border-radius: 4px; }}
</style>
<div id="card"></div>
<script src="{renderer}/adaptivecards/dist/adaptivecards.min.js"></script>
<script src="{renderer}/markdown-it/dist/markdown-it.min.js"></script>
<script>
const card = new AdaptiveCards.AdaptiveCard();
AdaptiveCards.AdaptiveCard.onProcessMarkdown = (text, result) => {{
  result.outputHtml = markdownit().render(text); result.didProcess = true;
}};
card.hostConfig = new AdaptiveCards.HostConfig({config});
card.parse({card});
document.getElementById("card").appendChild(card.render());
</script>
"""
_BEHIND = {
    "default": "#ffffff", "emphasis": "#f5f5f5", "accent": "#ebf3fc",
    "good": "#f1faf1", "warning": "#fff9f5", "attention": "#fdf3f4",
}  # fmt: skip
_CONFIG = {
    "fontFamily": "'Segoe UI', 'Helvetica Neue', Arial, sans-serif",
    "containerStyles": {
        name: {
            "backgroundColor": colour,
            "foregroundColors": {"default": {"default": "#242424", "subtle": "#616161"}},
        }
        for name, colour in _BEHIND.items()
    },
}


def mail_page(raw: bytes) -> str:
    """Return the HTML of a mail so that it shows its pictures without the mail around it."""
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    html: str = next(
        part.get_content() for part in mail.walk() if part.get_content_type() == "text/html"
    )
    for part in mail.walk():
        if part.get_content_maintype() == "image" and part["content-id"]:
            data = base64.b64encode(part.get_content()).decode()
            html = html.replace(
                f"cid:{part['content-id'].strip(' <>')}",
                f"data:{part.get_content_type()};base64,{data}",
            )
    return html


def card_page(card: Mapping[str, Any], renderer: Path) -> str:
    """Return a page that draws a card."""
    # "</script>" would end the script that holds it.
    data = json.dumps(card).replace("</", "<\\/")
    return _CARD.format(renderer=renderer.as_uri(), config=json.dumps(_CONFIG), card=data)


def shoot(html: str, picture: Path, size: tuple[int, int], *options: str) -> None:
    """Take a picture of a page."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        file.write_text(html)
        subprocess.run(
            [
                "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                f"--user-data-dir={folder}/profile", f"--force-device-scale-factor={_SCALE}",
                f"--window-size={size[0]},{size[1]}", f"--screenshot={picture}", *options,
                file.as_uri(),
            ],
            check=True,
            capture_output=True,
        )  # fmt: skip


def main(target: Path) -> None:
    """Write the pictures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(
            ["npm", "install", "--no-save", "--prefix", name, *RENDERER],
            check=True,
            capture_output=True,
        )
        card = json.loads((TOLD / "card.json").read_text())
        pages = {
            "mail": (mail_page((TOLD / "mail.eml").read_bytes()), (660, 810)),
            "card": (card_page(card, folder / "node_modules"), (680, 670)),
        }
        for stem, (html, size) in pages.items():
            shoot(html, target / f"{stem}.png", size)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else ROOT / "docs/images")
