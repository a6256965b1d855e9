"""Files of the Hugging Face Hub, by addresses that cannot change their meaning. Asked for by name only, fetched once.

`hf:OWNER/NAME@REVISION` is a repository as it was at a commit, tag or branch. `hf:OWNER/NAME@REVISION:FILE#HASH` is one
file of it; HASH, at least 8 digits of its SHA-256, may stand in for the revision.
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
FILE_FORM = f"{FORM}[:FILE][#HASH]"
_PART = r"[A-Za-z0-9_][\w.-]{0,95}"
_ADDRESS = re.compile(
    rf"hf:(?P<name>{_PART}/{_PART})(?:@(?P<revision>[\w][\w./-]{{0,95}}))?"
    r"(?::(?P<file>[^#@:\0\\]{1,300}))?(?:#(?P<digest>[0-9a-f]{8,64}))?",
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
    """First digits of its SHA-256, or "" where none was named."""


def read_address(text: str) -> Address:
    """`hf:OWNER/NAME@REVISION[:FILE][#HASH]`. Fault on another form, or with neither a revision nor a hash."""
    found = _ADDRESS.fullmatch(text)
    file = (found and found["file"]) or WEIGHTS
    if found is None or ".." in text or any(part in ("", ".") for part in file.split("/")):
        raise Fault(FILE_FORM, repr(text)[:120], "correct the address")
    digest = found["digest"] or ""
    if not found["revision"] and not digest:
        raise Fault(FILE_FORM, repr(text)[:120], "name a revision or a hash, so that the weights never change")
    return Address(found["name"], found["revision"] or "main", file, digest)


def fetched_file(text: str) -> Path:
    """The local file of an address, downloaded once into the hub's own cache; its SHA-256 is checked every time.

    Against the HASH of the address, against one in the file's name (NAME-HASH.pth), and against what the hub says of
    large files. Fault if one does not fit, and on whatever the network or the hub objects to.
    """
    address = read_address(text)
    client = _client()
    try:
        found = Path(client.hf_hub_download(address.name, address.file, revision=address.revision))
    except Exception as error:  # noqa: BLE001 network, names, rights: whatever it is, it is said in one line
        raise _unfetched(f"{address.file} of {address.name} at {address.revision}", error) from None
    named = re.search(r"-([0-9a-f]{8,64})\.\w+$", address.file)
    stored = found.resolve().name  # large files lie in the cache under their SHA-256
    wanted = [address.digest, named[1] if named else "", stored if re.fullmatch(r"[0-9a-f]{64}", stored) else ""]
    own = sha256(found)
    for digest in filter(None, wanted):
        if not own.startswith(digest):
            do = f"check the address, or delete {found} and try again"
            raise Fault(f"{text} with a SHA-256 of {digest[:16]}...", f"{own[:16]}...", do)
    return found


def fetched(address: str) -> Path:
    """The folder of `hf:OWNER/NAME@REVISION`, a run, downloaded once. Fault without a revision, or the extra `hub`."""
    name, at, revision = address.removeprefix(PREFIX).partition("@")
    owner, slash, repo = name.partition("/")
    if not (at and revision and slash and owner and repo) or "/" in repo or "\0" in address or ".." in address:
        raise Fault(FORM, repr(address)[:80], "name a revision, so that the model never changes")
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
