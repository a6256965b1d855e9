"""Plain words for files that are not what their names say."""

from __future__ import annotations

import os
from pathlib import Path

MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"P1", "PPM"),
    (b"P2", "PPM"),
    (b"P3", "PPM"),
    (b"P4", "PPM"),
    (b"P5", "PPM"),
    (b"P6", "PPM"),
    (b"\x93NUMPY", "NPY"),
    (b"PK\x03\x04", "ZIP"),
)
"""First bytes -> format. WebP is `RIFF....WEBP`, see `kind`."""

FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"%!PS", "EPS or PostScript"),
    (b"\xc5\xd0\xd3\xc6", "EPS or PostScript"),
    (b"8BPS", "Photoshop"),
    (b"SIMPLE  =", "FITS"),
    (b"%PDF", "PDF"),
    (b"\x1f\x8b", "gzip archive"),
    (b"PK", "zip archive"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"version https://git-lfs", "Git LFS pointer: run git lfs pull"),
)


def kind(head: bytes) -> str | None:
    """The format a file's first bytes announce, or None."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    return next((name for magic, name in MAGIC if head.startswith(magic)), None)


def describe(head: bytes) -> str:
    """Why these first bytes are no image, in the user's words."""
    if not head:
        return "empty file"
    for magic, name in FOREIGN:
        if head.startswith(magic):
            return f"not an image ({name})"
    if head[4:8] == b"ftyp":
        return f"{head[8:12].decode('ascii', 'replace').strip().upper()} file: convert it to JPEG or PNG"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "not an image (web page)"
    if start.startswith((b"<?xml", b"<svg")):
        return "not an image (XML or SVG)"
    if not head.strip(b"\0"):
        return "not an image (only zero bytes)"
    return "not an image (plain text)" if _is_text(head) else "not an image (unknown content)"


def _is_text(head: bytes) -> bool:
    """No control characters but line breaks and tabs, in UTF-8 (perhaps cut inside a character) or Latin-1."""
    return not any(byte < 32 and byte not in b"\t\n\r\f" for byte in head)


def bytes_words(count: int) -> str:
    """812 -> "812 bytes", 41300 -> "41 kB", 5.2e6 -> "5.2 MB"."""
    if count < 1000:
        return f"{count} byte{'s' * (count != 1)}"
    return f"{count / 1e3:.0f} kB" if count < 1e6 else f"{count / 1e6:.1f} MB"


def os_words(path: Path, error: OSError) -> str:
    """Why the system would not open `path`."""
    if isinstance(error, PermissionError):
        return "permission denied"
    if os.path.islink(path):  # False, where Path.is_symlink raises: a name too long, a loop on the way
        return link_words(path) or "broken link"
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return (error.strerror or str(error) or type(error).__name__).lower()


def link_words(path: Path) -> str | None:
    """ "symlink loop" when `path` is a link that leads back to itself or to a folder it lies in."""
    if not os.path.islink(path):
        return None
    target = os.path.realpath(path)
    here = os.path.realpath(path.parent)
    if os.path.islink(target) or os.path.commonpath([target, here]) == target:
        return "symlink loop"
    return None
