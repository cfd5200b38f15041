"""Bytes: what editor files export to, ranges of binary files, and small files made in code."""

from __future__ import annotations

import csv
import html
import io
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping

from docsession.sandbox.answers import Answer
from docsession.sandbox.errors import DriveError, bad_request, forbidden
from docsession.sandbox.records import DOCUMENT, PRESENTATION, SPREADSHEET, File, is_binary, is_editor

__all__ = ["EXPORT_FORMATS", "download", "export", "pdf", "png"]

_RANGE = re.compile(r"\Abytes=(\d*)-(\d*)\Z")
_EXPORT_LIMIT = 10_000_000


def download(name: str, mime_type: str, content: bytes, range_header: str) -> Answer:
    """The bytes, or the part of them that a ``Range`` asks for."""
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Disposition": f"attachment; filename*=UTF-8''{_quoted(name)}",
    }
    asked = _RANGE.match(range_header)
    if asked is None or asked.group(1) == asked.group(2) == "":
        return Answer(200, content, mime_type, headers)
    first, last, size = asked.group(1), asked.group(2), len(content)
    if first:
        begin, end = int(first), min(int(last) if last else size - 1, size - 1)
    else:
        begin, end = max(size - int(last), 0), size - 1
    if last and first and int(last) < int(first):
        return Answer(200, content, mime_type, headers)
    if begin >= size or begin > end:
        raise DriveError(
            416,
            "requestedRangeNotSatisfiable",
            "Request range not satisfiable",
            location="Range",
            location_type="header",
            headers={"Content-Range": f"bytes */{size}"},
        )
    headers["Content-Range"] = f"bytes {begin}-{end}/{size}"
    return Answer(206, content[begin : end + 1], mime_type, headers)


def _quoted(name: str) -> str:
    return "".join(
        c if c.isascii() and c.isalnum() else "".join(f"%{b:02X}" for b in c.encode()) for c in name
    )


# --- export ---------------------------------------------------------------------------------


def export(file: File, mime_type: str) -> Answer:
    """An editor file in another format, or the refusal that Google would give."""
    if not is_editor(file.mime_type):
        raise forbidden("fileNotExportable", "Export only supports Docs Editors files.")
    convert = _EXPORTS[file.mime_type].get(mime_type)
    if convert is None:
        raise bad_request("The requested conversion is not supported.", "convertTo")
    body = convert(file.name, file.content.decode("utf-8"))
    if len(body) > _EXPORT_LIMIT:
        raise forbidden("exportSizeLimitExceeded", "This file is too large to be exported.")
    return Answer(200, body, mime_type)


def _plain(name: str, text: str) -> bytes:
    # Google's plain text starts with a byte order mark and ends its lines as DOS does.
    return b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()


def _markdown(name: str, text: str) -> bytes:
    return text.encode()


def _web_page(name: str, text: str) -> bytes:
    paragraphs = "".join(f"<p>{html.escape(line)}</p>" for line in text.split("\n"))
    head = f'<head><meta charset="utf-8"><title>{html.escape(name)}</title></head>'
    page = f"<html>{head}<body>{paragraphs}</body></html>"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        # A fixed date, so that the same text gives the same bytes.
        entry = zipfile.ZipInfo(
            f"{re.sub(r'[^A-Za-z0-9]', '', name) or 'Untitled'}.html", (1980, 1, 1, 0, 0, 0)
        )
        archive.writestr(entry, page)
    return buffer.getvalue()


def _tabs(name: str, text: str) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, delimiter="\t", lineterminator="\r\n").writerows(csv.reader(io.StringIO(text)))
    return buffer.getvalue().encode()


def _commas(name: str, text: str) -> bytes:
    return text.replace("\r\n", "\n").replace("\n", "\r\n").encode()


def pdf(title: str, text: str) -> bytes:
    """A small PDF with this text, as many pages as it needs."""
    lines = [title, "", *text.split("\n")]
    pages = [lines[start : start + 50] for start in range(0, len(lines), 50)]
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>"]
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects.append(f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode())
    objects.append(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>")
    for number, page in enumerate(pages):
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font << /F1 3 0 R >> >> "
            + f"/Contents {5 + 2 * number} 0 R >>".encode()
        )
        shown = b"".join(b"(" + _pdf_text(line) + b") Tj T*\n" for line in page)
        stream = b"BT /F1 11 Tf 14 TL 56 786 Td\n" + shown + b"ET"
        objects.append(f"<< /Length {len(stream)} >>\nstream\n".encode() + stream + b"\nendstream")
    out, places = bytearray(b"%PDF-1.4\n"), []
    for number, item in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n".encode() + item + b"\nendobj\n"
    start = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(f"{place:010d} 00000 n \n".encode() for place in places)
    out += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode()
    return bytes(out)


def _pdf_text(line: str) -> bytes:
    return re.sub(rb"([\\()])", rb"\\\1", line.encode("cp1252", "replace"))


def png(width: int, height: int, colour: Callable[[int, int], tuple[int, int, int]]) -> bytes:
    """A PNG picture, its pixels given by a function of their place."""
    rows = b"".join(b"\0" + b"".join(bytes(colour(x, y)) for x in range(width)) for y in range(height))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


_EXPORTS: Mapping[str, Mapping[str, Callable[[str, str], bytes]]] = {
    DOCUMENT: {
        "text/plain": _plain,
        "text/markdown": _markdown,
        "application/pdf": pdf,
        "application/zip": _web_page,
    },
    SPREADSHEET: {
        "text/csv": _commas,
        "text/tab-separated-values": _tabs,
        "application/pdf": pdf,
    },
    PRESENTATION: {
        "text/plain": _plain,
        "application/pdf": pdf,
    },
}

EXPORT_FORMATS = {source: sorted(targets) for source, targets in _EXPORTS.items()}


def refuse_download(file: File) -> None:
    """Raise Google's refusal where a file has no bytes of its own."""
    if not is_binary(file.mime_type):
        raise forbidden(
            "fileNotDownloadable",
            "Only files with binary content can be downloaded. Use Export with Docs Editors files.",
            location="alt",
        )
