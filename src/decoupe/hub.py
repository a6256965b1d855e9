"""Files of the Hugging Face Hub, by addresses that say what is meant. Asked for by name only, fetched once.

`hf:OWNER/NAME@REVISION` is a run, a repository as it is at a commit, tag or branch. `hf:OWNER/NAME@COMMIT:FILE` is one
file of weights, at a commit of 40 hexadecimal digits. `hf:OWNER/NAME[@REVISION]:FILE#HASH` is one too: where a branch
or a tag, which may move, stands in for the commit, HASH is needed, the 64 digits of the file's SHA-256.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decoupe.engine.files import sha256
from decoupe.errors import Fault

PREFIX = "hf:"
WEIGHTS = "model.safetensors"
"""The file that is taken when none is named."""
FORM = f"{PREFIX}OWNER/NAME@REVISION"
FILE_FORM = f"{PREFIX}OWNER/NAME@COMMIT[:FILE] or {FORM}[:FILE]#HASH"
_PART = r"[A-Za-z0-9_][\w.-]{0,95}"
_ADDRESS = re.compile(
    rf"hf:(?P<name>{_PART}/{_PART})(?:@(?P<revision>[\w][\w./-]{{0,95}}))?"
    r"(?::(?P<file>[^#@:\\\x00-\x1f\x7f-\x9f\u2028\u2029]{1,300}))?(?:#(?P<digest>[0-9a-f]{64}))?",
    re.ASCII,
)


@dataclass(frozen=True)
class Address:
    """One file of a repository."""

    name: str
    """OWNER/NAME."""
    revision: str
    file: str
    digest: str
    """Its SHA-256, or "" where none was named and `revision` is a commit."""


def _read(text: str, form: str) -> re.Match[str]:
    """The parts of an address of any kind. Fault, with the form that is expected, on what is none."""
    found = _ADDRESS.fullmatch(text)
    parts = found["file"].split("/") if found and found["file"] else []
    if found is None or ".." in text or any(part in ("", ".") for part in parts):
        do = "correct the address; COMMIT has 40 digits, HASH, a SHA-256, 64" if form == FILE_FORM else "correct it"
        raise Fault(form, repr(text)[:120], do)
    return found


def read_address(text: str) -> Address:
    """`hf:OWNER/NAME@COMMIT[:FILE]`, or `hf:OWNER/NAME[@REVISION][:FILE]#HASH`.

    Fault on another form, and on a branch or tag without a HASH of 64 digits.
    """
    found = _read(text, FILE_FORM)
    revision, digest = found["revision"] or "main", found["digest"] or ""
    if not digest and not re.fullmatch(r"[0-9a-f]{40}", revision):
        do = "name a commit of 40 digits or a SHA-256 of 64, so that the weights never change"
        raise Fault(FILE_FORM, repr(text)[:120], do)
    return Address(found["name"], revision, found["file"] or WEIGHTS, digest)


def fetched_file(text: str) -> Path:
    """The local file of an address, downloaded once into the hub's own cache; its SHA-256 is checked every time.

    Against the HASH of the address, and against what the hub says of large files. Fault if one does not fit, and on
    whatever the network or the hub objects to.
    """
    address = read_address(text)
    client = _client()
    try:
        found = Path(client.hf_hub_download(address.name, address.file, revision=address.revision))
    except Exception as error:  # noqa: BLE001 network, names, rights: whatever it is, it is said in one line
        raise _unfetched(f"{address.file} of {address.name} at {address.revision}", error) from None
    stored = found.resolve().name  # large files lie in the cache under their SHA-256
    own = sha256(found)
    for digest in filter(None, (address.digest, stored if re.fullmatch(r"[0-9a-f]{64}", stored) else "")):
        if own != digest:
            do = f"check the address, or delete {found} and try again"
            raise Fault(f"{text} with a SHA-256 of {digest[:16]}...", f"{own[:16]}...", do)
    return found


def fetched(address: str) -> Path:
    """The folder of `hf:OWNER/NAME@REVISION`, a run, downloaded once.

    Fault on another form, also one with a FILE or a HASH, which are for weights, and without the extra `hub`.
    """
    parts = _read(address, FORM)
    if parts["file"] or parts["digest"]:
        raise Fault(FORM, repr(address)[:120], "leave out :FILE and #HASH, a run is a whole repository")
    if not parts["revision"]:
        raise Fault(FORM, repr(address)[:120], "name a revision; at a commit the model never changes")
    name, revision = parts["name"], parts["revision"]
    client = _client()
    try:
        found = client.snapshot_download(
            name, revision=revision, allow_patterns=["run.json", "weights.safetensors", "names.json", "results/*.json"]
        )
    except Exception as error:  # noqa: BLE001 as above
        raise _unfetched(f"the model {name} at {revision:.40}", error) from None
    return Path(found)


def _client() -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise Fault("the package huggingface_hub", "none", "pip install 'decoupe[hub]'") from None
    return huggingface_hub


def _unfetched(what: str, error: Exception) -> Fault:
    reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
    return Fault(what, reason, "check its name, the network and your rights")
