# SPDX-License-Identifier: Apache-2.0
"""A mail as HTML: at most 600 pixels wide, light and dark. Pure.

Mail programs know tables and inline styles; the style sheet holds only what dark screens change.
Whatever is put into a template is escaped (markupsafe).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from accelerate_core.delivering.message import Message

from .fitting import Letter, web_link

#: Behind white words: legible on light and dark screens.
_COLOURS = {
    "good": "#1a7f37",
    "info": "#0969da",
    "minor": "#8a5d00",
    "major": "#b54708",
    "critical": "#cf222e",
}

_PAGE = Markup("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="supported-color-schemes" content="light dark">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; supported-color-schemes: light dark; }}
@media (prefers-color-scheme: dark) {{
  .page {{ background: #15181c !important; }}
  .card {{ background: #1f2329 !important; border-right-color: #343a43 !important;
    border-bottom-color: #343a43 !important; border-left-color: #343a43 !important; }}
  .card, .card h1, .card td {{ color: #e6e8eb !important; }}
  .soft, .card th, .card td.soft {{ color: #a3acb8 !important; }}
  .card td, .card th {{ border-color: #343a43 !important; }}
}}
</style>
</head>
<body class="page" style="margin:0;padding:0;background:#f3f4f6">
<table role="presentation" class="page" width="100%" cellpadding="0" cellspacing="0" \
style="background:#f3f4f6"><tr><td align="center" style="padding:16px 8px">
<table role="presentation" class="card" width="100%" cellpadding="0" cellspacing="0" \
style="max-width:600px;background:#ffffff;border:1px solid #d9dde3;border-top:4px solid {colour};\
border-radius:6px;font:14px/1.5 -apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;\
color:#1f2328;text-align:left"><tr><td style="padding:20px;color:#1f2328">
<span style="background:{colour};color:#ffffff;border-radius:3px;padding:2px 8px;font-size:12px">\
{severity}</span>
<h1 dir="auto" style="margin:10px 0 14px;font-size:19px;line-height:1.35;color:#1f2328;\
overflow-wrap:anywhere">{title}</h1>
{parts}</td></tr></table>
<p class="soft" style="font:12px sans-serif;color:#667080;margin:10px 0 0">accelerate</p>
</td></tr></table>
</body>
</html>
""")
_TEXT = Markup(
    '<p dir="auto" style="margin:0 0 14px;white-space:pre-line;overflow-wrap:anywhere">{}</p>\n'
)
_TABLE = Markup(
    '<div style="overflow-x:auto;margin:0 0 16px"><table {}cellpadding="0" cellspacing="0" '
    'width="100%" style="border-collapse:collapse;font-size:13px">\n{}</table></div>\n'
)
_FACT = Markup(
    '<tr><td class="soft" dir="auto" style="padding:4px 16px 4px 0;color:#667080;'
    'vertical-align:top;white-space:nowrap">{}</td>'
    '<td dir="auto" width="100%" style="padding:4px 0;color:#1f2328;overflow-wrap:anywhere">'
    "{}</td></tr>\n"
)
_ROW = Markup("<tr>{}</tr>\n")
_HEAD = Markup(
    '<th scope="col" dir="auto" align="left" style="padding:6px 10px 6px 0;'
    'border-bottom:2px solid #d9dde3;color:#667080;font-weight:600">{}</th>'
)
_CELL = Markup(
    '<td dir="auto" style="padding:6px 10px 6px 0;border-bottom:1px solid #e5e8ec;'
    'vertical-align:top">{}</td>'
)
_PICTURE = Markup(
    '<p style="margin:0 0 16px"><img src="cid:{}" alt="{}" width="560" '
    'style="display:block;width:100%;max-width:560px;height:auto;border-radius:4px"></p>\n'
)
_NOTE = Markup('<p class="soft" style="margin:0 0 12px;font-size:13px;color:#667080">{}</p>\n')
_LINK = Markup(
    '<p style="margin:0"><a href="{}" style="display:inline-block;background:#0969da;'
    "color:#ffffff;text-decoration:none;border-radius:5px;padding:9px 16px;"
    'font-weight:600">See the whole</a></p>\n'
)


def page(letter: Letter, content_ids: Sequence[str]) -> str:
    """Return the HTML of a letter; `content_ids` are those of its pictures."""
    message = letter.message
    return str(
        _PAGE.format(
            title=message.title,
            severity=message.severity,
            colour=_COLOURS.get(message.severity, _COLOURS["info"]),
            parts=_joined(_parts(letter, content_ids)),
        )
    )


def _parts(letter: Letter, content_ids: Sequence[str]) -> Iterable[Markup]:
    message = letter.message
    if message.text:
        yield _TEXT.format(message.text)
    if message.facts:
        yield _TABLE.format(
            Markup('role="presentation" '), _joined(_FACT.format(*one) for one in message.facts)
        )
    for one, content_id in zip(letter.pictures, content_ids, strict=True):
        yield _PICTURE.format(content_id, one.description or one.name)
    if message.rows:
        yield _TABLE.format("", _rows(message))
    for note in letter.notes:
        yield _NOTE.format(note)
    if link := web_link(message.link):
        yield _LINK.format(link)
    elif message.link:
        yield _NOTE.format(message.link)


def _rows(message: Message) -> Markup:
    head = _ROW.format(_joined(map(_HEAD.format, message.header))) if message.header else Markup()
    return head + _joined(_ROW.format(_joined(map(_CELL.format, row))) for row in message.rows)


def _joined(parts: Iterable[Markup]) -> Markup:
    return Markup("").join(parts)
