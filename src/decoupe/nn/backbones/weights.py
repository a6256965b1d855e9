"""The one place that reads weights made elsewhere: safetensors, or a `.pth` of plain tensors. Nothing in it is run."""

from __future__ import annotations

import contextlib
import re
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit

import torch
from torch import Tensor
from torch.torch_version import TorchVersion

from decoupe.engine.files import sha256
from decoupe.engine.tensors import load_tensors
from decoupe.errors import Fault
from decoupe.hub import PREFIX, fetched_file
from decoupe.nn.backbones.base import Backbone

LIMIT = 4 * 1024**3
"""No network here has weights of more bytes."""
OLD_MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"
"""First bytes of a `.pth` as torch < 1.6 wrote it: several published weights still are of this kind."""
WANTED = "weights as .safetensors, or as .pth with nothing but tensors"


def _refuse(path: Path, got: str, do: str = "save the network's state_dict as safetensors") -> Fault:
    return Fault(f"{WANTED} at {path}", got, do)


def check_pth(path: Path) -> None:
    """Look at a `.pth` before torch does. Fault unless it is a zip that torch wrote, or of the older kind.

    Entries are stored as they are, so what they claim together cannot be larger than the file (no zip bomb).
    """
    with path.open("rb") as file:
        head = file.read(len(OLD_MAGIC))
    if head == OLD_MAGIC:
        return
    if head[:4] != b"PK\x03\x04":
        raise _refuse(path, f"a file that starts with {head[:8]!r}")
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise _refuse(path, "a damaged archive", "get the file again") from error
    names = [entry.filename.partition("/")[2] for entry in entries]
    if "data.pkl" not in names or "constants.pkl" in names:
        raise _refuse(path, "an archive that holds no state_dict")
    packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
    if packed or sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise _refuse(path, "an archive that torch did not write")


def _plain(content: object, path: Path) -> dict[str, Tensor]:
    """The tensors by name; `state_dict` inside a checkpoint is found."""
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content:
        raise _refuse(path, f"a {type(content).__name__}")
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise _refuse(path, f"an entry {str(name)[:60]!r} of type {type(tensor).__name__}")
    return {name.removeprefix("module."): tensor.detach() for name, tensor in content.items()}


def _unpickled(path: Path) -> object:
    """torch.load(weights_only=True) of a checked `.pth`; whatever it objects to becomes one line."""
    if TorchVersion(torch.__version__) < "2.10":
        raise Fault("torch >= 2.10 to read .pth files", torch.__version__, "upgrade torch or use safetensors")
    check_pth(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a hostile file may fail anywhere inside
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise _refuse(path, f"one that torch refuses ({reason[0][:120]})") from error


def read_file(path: Path) -> dict[str, Tensor]:
    """Tensors by name from a local file, on the CPU. Fault on anything else than safetensors or a `.pth` of tensors."""
    if path.suffix not in (".safetensors", ".pth", ".pt"):
        raise _refuse(path, f"a file named {path.suffix or 'without a suffix'}")
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise _refuse(path, "a folder", "give the file in it")
        if size > LIMIT:
            raise _refuse(path, f"{size / 1024**3:.1f} GiB", "choose weights of one of the networks here")
        if path.suffix != ".safetensors":
            return _plain(_unpickled(path), path)
    except OSError as error:
        raise _refuse(path, error.strerror or str(error), "check the path") from error
    try:
        return _plain(load_tensors(path)[0], path)
    except Fault as fault:
        raise _refuse(path, fault.got) from fault


def _fingerprint(url: str) -> tuple[str, str]:
    """The file name of a URL and the start of the SHA-256 in it. Fault without one: nothing could be checked."""
    parts = urlsplit(url)
    name = unquote(parts.path).rpartition("/")[2]
    found = re.fullmatch(r"[\w.-]*-([0-9a-f]{8,64})\.pth", name)
    if parts.scheme not in ("http", "https") or not found:
        raise Fault(
            "a URL of http or https whose file is called NAME-HASH.pth, HASH at least 8 digits of its SHA-256",
            repr(url[:200]),
            "download the file and give its path",
        )
    return name, found.group(1)


def read_url(url: str) -> dict[str, Tensor]:
    """Tensors by name from a URL, through torch's cache. The hash in the name is checked, in the cache too."""
    name, digest = _fingerprint(url)
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    cached = folder / name
    if cached.is_file():
        if not sha256(cached).startswith(digest):
            raise _refuse(cached, "content that does not fit the hash in its name", "delete the file and try again")
        return read_file(cached)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            content = torch.hub.load_state_dict_from_url(
                url, str(folder), map_location="cpu", progress=False, check_hash=True, weights_only=True
            )
    except Exception as error:  # the network, the hash, or the file
        if isinstance(error, HTTPError):
            error.close()
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise Fault(f"weights from {url[:200]}", reason[0][:160], "check the URL, or download it yourself") from error
    return _plain(content, cached)


def read_weights(source: str | Path) -> dict[str, Tensor]:
    """Tensors by name from a local file, a URL, or a file of a hub (`decoupe.hub`: hf:OWNER/NAME@COMMIT:FILE)."""
    if isinstance(source, str) and source.startswith(PREFIX):
        return read_file(fetched_file(source))
    if isinstance(source, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", source):
        return read_url(source)
    return read_file(Path(source))


def folded(state: Mapping[str, Tensor]) -> bool:
    """Whether batch normalisation has been folded into the convolutions: mean 0, variance and weight 1, biases not 0.

    Converted mobile networks are; they see values in [-1, 1], and training must leave their normalisation alone.
    """
    means = [name for name in state if name.endswith("running_mean")]
    bases = [name.removesuffix("running_mean") for name in means]
    ones = [state[base + part] for base in bases for part in ("running_var", "weight") if base + part in state]
    shifted = any(bool(state[base + "bias"].any()) for base in bases if base + "bias" in state)
    return shifted and not any(bool(state[n].any()) for n in means) and all(bool((t == 1).all()) for t in ones)


def _bands(weight: Tensor, channels: int) -> Tensor:
    """(D, C, k, k) -> (D, channels, k, k): mean over the bands, repeated, times C / channels.

    An image whose bands are all alike gives the same response as before.
    """
    return weight.mean(1, keepdim=True).repeat(1, channels, 1, 1) * (weight.shape[1] / channels)


def install(network: Backbone, state: Mapping[str, Tensor], source: str) -> None:
    """Put published weights into a network: float32, bands adapted, and the head kept if it has as many classes.

    Otherwise the last linear layer stays as it was made. Fault on names, shapes or values that do not fit.
    """
    body = network.body
    own = body.state_dict()
    first, final = f"{body.FIRST}.weight", (f"{body.FINAL}.weight", f"{body.FINAL}.bias")
    wanted = {name for name in own if not name.endswith("num_batches_tracked")}
    given = {name for name in state if not name.endswith("num_batches_tracked")}
    fresh = not all(name in state and state[name].shape == own[name].shape for name in final)
    trouble = sorted((wanted - set(final) if fresh else wanted) - given) or sorted(given - wanted)
    kind = type(body).__name__
    if trouble:
        what = "without" if trouble[0] in wanted else "with the unknown"
        raise Fault(f"weights of {kind} in {source}", f"a file {what} {trouble[0][:80]!r}", "choose the right file")
    tensors: dict[str, Tensor] = {}
    for name in own:
        tensor = own[name] if name not in state or (fresh and name in final) else state[name]
        if name == first and tensor.ndim == 4 and tensor.shape[0] == own[name].shape[0]:
            if tensor.shape[1] != network.channels and tensor.shape[2:] == own[name].shape[2:]:
                tensor = _bands(tensor.float(), network.channels)
        if tensor.shape != own[name].shape:
            shapes = f"{name} of shape {tuple(tensor.shape)}, not {tuple(own[name].shape)}"
            raise Fault(f"weights of {kind} in {source}", shapes, "choose the right file")
        if tensor.is_floating_point() != own[name].is_floating_point() or not bool(tensor.isfinite().all()):
            raise Fault(f"finite weights in {source}", f"others in {name}", "choose another file")
        tensors[name] = tensor.to(own[name].dtype)
    body.load_state_dict(tensors)
