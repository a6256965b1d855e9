"""Where in an image a class is seen: class activation maps of all classes of a batch from one forward pass.

With A (B, D, h, w) the output of a layer and y (B, C) the logits, the gradients dy_c / dA of all C classes come from
one batched vector-Jacobian product through the part of the network after the layer; the part before it runs once and
keeps nothing. Any network of torch modules will do whose logits of one image do not depend on the others.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decoupe.errors import Fault

METHODS = ("gradcam", "gradcam++", "cam")


@contextlib.contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Inside, every module is in evaluation mode; afterwards each in its own mode again, also after an error."""
    modes = [(module, module.training) for module in network.modules()]
    try:
        network.eval()
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@dataclass
class Tap:
    """What flowed through the tapped layer in the latest forward pass."""

    outputs: list[Tensor] = field(default_factory=list)

    @property
    def output(self) -> Tensor:
        """The layer's output A, a leaf that gradients are taken for. Fault unless the layer ran exactly once."""
        if len(self.outputs) != 1:
            raise Fault("a layer that runs once", f"one that ran {len(self.outputs)} times", "choose another layer")
        return self.outputs[0]

    def hook(self, module: nn.Module, inputs: object, output: object) -> Tensor:
        """Cut the graph here: keep the output as a leaf, pass a copy on (what follows may work in place)."""
        if not isinstance(output, Tensor) or output.ndim != 4:
            shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise Fault("a layer with an output (B, D, h, w)", str(shape), "choose another layer")
        torch.set_grad_enabled(True)  # the part after the layer is recorded; `tapped` restores the mode
        leaf = output.detach().requires_grad_()
        self.outputs.append(leaf)
        return leaf.clone()


@contextlib.contextmanager
def tapped(network: nn.Module, layer: str) -> Iterator[Tap]:
    """Inside, the named layer is tapped and gradients are recorded from its output on only; the hook goes at the end.

    Fault if the network has no such layer.
    """
    try:
        module = network.get_submodule(layer)
    except AttributeError as error:
        near = ", ".join([name for name, _ in network.named_modules() if name][-6:])
        raise Fault("the name of a layer of the network", repr(layer), f"choose one such as {near}") from error
    tap = Tap()
    handle = module.register_forward_hook(tap.hook)
    try:
        with torch.inference_mode(False), torch.no_grad():
            yield tap
    finally:
        handle.remove()


def last_layer(network: nn.Module, layer: str | None) -> str:
    """`layer`, or the layer that the network itself names in `last`. Fault if neither is there."""
    name = layer if layer is not None else getattr(network, "last", None)
    if not isinstance(name, str):
        raise Fault("the name of a layer", "none", "give `layer`, for example the last convolution's")
    return name


def gradients(logits: Tensor, maps: Tensor, classes: Sequence[int], chunk: int = 0) -> Tensor:
    """dy_c / dA for logits (B, C), A (B, D, h, w) and n classes -> (n, B, D, h, w).

    One vector-Jacobian product batched over the classes (over `chunk` of them at a time if chunk > 0: less memory).
    An operator that cannot be batched makes it a loop over the classes.
    """
    wanted = torch.as_tensor(classes, device=logits.device)
    vectors = F.one_hot(wanted, logits.shape[1]).to(logits.dtype)[:, None].expand(-1, logits.shape[0], -1)
    parts = []
    step = chunk or len(classes)
    for start in range(0, len(classes), step):
        some = vectors[start : start + step]
        try:
            (part,) = torch.autograd.grad(logits, maps, some, retain_graph=True, is_grads_batched=True)
        except RuntimeError:
            part = torch.stack([_gradient(logits, maps, one) for one in some])
        parts.append(part)
    return torch.cat(parts)


def _gradient(logits: Tensor, maps: Tensor, vector: Tensor) -> Tensor:
    """One vector-Jacobian product. Fault if the logits do not depend on the layer."""
    (grad,) = torch.autograd.grad(logits, maps, vector, retain_graph=True, allow_unused=True)
    if grad is None:
        raise Fault("a layer that the logits depend on", "another", "choose another layer")
    return grad


def grad_cam(maps: Tensor, grads: Tensor) -> Tensor:
    """A (B, D, h, w), dy_c / dA (C, B, D, h, w) -> (B, C, h, w), at least 0.

    L_c = relu(sum_d alpha_cd A_d), alpha_cd = (1 / (h w)) sum_ij dy_c / dA_dij.
    """
    return F.relu(torch.einsum("cbd,bdhw->bchw", grads.mean((3, 4)), maps))


def grad_cam_plus_plus(maps: Tensor, grads: Tensor) -> Tensor:
    """A (B, D, h, w), g = dy_c / dA (C, B, D, h, w) -> (B, C, h, w), at least 0.

    L_c = relu(sum_d w_cd A_d), w_cd = sum_ij a_ij relu(g_ij), a_ij = g_ij^2 / (2 g_ij^2 + sum_ab A_ab g_ij^3), 0 where
    the denominator is. For the score exp(y_c) of the paper w_cd has the further factor exp(y_c) > 0, left out here: it
    is the same everywhere in a map.
    """
    square = grads.square()
    below = 2 * square + maps.sum((2, 3))[None, :, :, None, None] * square * grads
    share = torch.where(below != 0, square / torch.where(below != 0, below, 1), 0)
    weights = (share * F.relu(grads)).sum((3, 4))
    return F.relu(torch.einsum("cbd,bdhw->bchw", weights, maps))


def cam(network: nn.Module, logits: Tensor, maps: Tensor, classes: Sequence[int]) -> Tensor:
    """The original class activation map: A (B, D, h, w) -> (B, n, h, w), at least 0.

    L_c = relu(sum_d W_cd A_d) with W (C, D) the last linear layer. Fault unless the network ends in
    y = W mean_ij A_ij + b: for any other network these maps say nothing.
    """
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    fits = bool(linear) and linear[-1].in_features == maps.shape[1] and linear[-1].out_features == logits.shape[1]
    tolerance = 1e-3 * (1 + float(logits.detach().abs().max()))
    if not fits or not torch.allclose(linear[-1](maps.mean((2, 3))), logits, atol=tolerance, rtol=0):
        raise Fault("a network that ends in the mean of the layer's map and one linear layer", "another", "use gradcam")
    return F.relu(torch.einsum("cd,bdhw->bchw", linear[-1].weight[list(classes)], maps))


def _once(
    network: nn.Module, images: Tensor, layer: str, method: str, classes: Sequence[int] | None, chunk: int
) -> tuple[Tensor, Tensor]:
    """Logits (B, C) and maps (B, n, h, w) from one forward pass."""
    with tapped(network, layer) as tap:
        logits = network(images)
        maps = tap.output
        if logits.ndim != 2 or len(logits) != len(maps):
            raise Fault("a network with logits (B, C)", str(tuple(logits.shape)), "wrap it so that it gives these")
        chosen = list(range(logits.shape[1])) if classes is None else list(classes)
        if not chosen or min(chosen) < 0 or max(chosen) >= logits.shape[1]:
            raise Fault(f"classes from 0 to {logits.shape[1] - 1}", str(chosen)[:80], "choose among these")
        grads = gradients(logits, maps, chosen, chunk) if method != "cam" else maps
        with torch.no_grad():
            if method == "cam":
                found = cam(network, logits, maps, chosen)
            else:
                found = (grad_cam if method == "gradcam" else grad_cam_plus_plus)(maps, grads)
        return logits.detach(), found.detach()


def explain(
    network: nn.Module,
    images: Tensor,
    layer: str | None = None,
    method: str = "gradcam",
    classes: Sequence[int] | None = None,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    chunk: int = 0,
) -> tuple[Tensor, Tensor]:
    """Images (B, C', H, W) -> logits (B, C) and maps (B, n, h, w) >= 0 of n classes (default: all C), h w the layer's.

    `method`: "gradcam", "gradcam++" or "cam". One forward pass per scale, in evaluation mode, without gradients for
    the network's weights. Maps of other scales are brought to the size that the first one gives and averaged; those of
    Grad-CAM are multiplied by their number of cells in units of its, as gradients of a mean shrink with the cells.
    With `flip` mirrored images go through in the same pass, and their maps are mirrored back. Logits are averaged too.
    Fault on an unknown method, layer or class.
    """
    if method not in METHODS:
        raise Fault(f"a method of {', '.join(METHODS)}", repr(method), "choose one of these")
    if not scales or min(scales) <= 0:
        raise Fault("scales above 0", str(list(scales)), "give one or more")
    name = last_layer(network, layer)
    logits: list[Tensor] = []
    maps: list[Tensor] = []
    with evaluating(network):
        for scale in scales:
            x = images if scale == 1 else _resized(images, [max(1, round(side * scale)) for side in images.shape[2:]])
            both = torch.cat([x, x.flip(3)]) if flip else x
            y, found = _once(network, both, name, method, classes, chunk)
            if flip:
                straight, mirrored = found.chunk(2)
                y, found = torch.stack(y.chunk(2)).mean(0), (straight + mirrored.flip(3)) / 2
            if maps and found.shape != maps[0].shape:
                cells = found[0, 0].numel() / maps[0][0, 0].numel() if method == "gradcam" else 1.0
                found = _resized(found, list(maps[0].shape[2:])) * cells
            logits.append(y)
            maps.append(found)
    return torch.stack(logits).mean(0), torch.stack(maps).mean(0)


def _resized(x: Tensor, size: list[int]) -> Tensor:
    smaller = size[0] < x.shape[2] or size[1] < x.shape[3]
    return F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=smaller)


def normalised(maps: Tensor) -> Tensor:
    """(B, C, h, w) >= 0 -> [0, 1]: each map divided by its largest value; a map of zeros stays one."""
    top = maps.amax((2, 3), keepdim=True)
    return maps / torch.where(top > 0, top, 1)


def background(maps: Tensor, present: Tensor) -> Tensor:
    """Maps (B, C, h, w) in [0, 1] and present (B, C) -> (B, 1, h, w): 1 - sum of the present classes' maps, or 0."""
    return (1 - (maps * present[:, :, None, None]).sum(1, keepdim=True)).clamp_min(0)


def saliency(network: nn.Module, images: Tensor, present: Tensor) -> Tensor:
    """Images (B, C', H, W), present (B, C) -> (B, 1, H, W) >= 0: how much each pixel matters to the present classes.

    S_ij = max over the bands of |d (sum of y_c over the present c) / d x_ij|; one forward and one backward pass.
    An image without a class has 0 everywhere.
    """
    with evaluating(network), torch.inference_mode(False), torch.enable_grad():
        x = images.detach().clone().requires_grad_()
        total = (network(x) * present).sum()
        (grad,) = torch.autograd.grad(total, x)
    return grad.abs().amax(1, keepdim=True)


def saliency_background(found: Tensor, smooth: int = 3) -> Tensor:
    """S (B, 1, H, W) -> (B, 1, H, W) in [0, 1]: 1 - S / max S, S averaged over smooth x smooth pixels first."""
    if smooth < 1 or smooth % 2 == 0:
        raise Fault("an odd number of pixels to smooth over", str(smooth), "give 1, 3, 5 or more")
    return 1 - normalised(F.avg_pool2d(found, smooth, 1, smooth // 2, count_include_pad=False))


def least_salient(found: Tensor, share: float = 0.1) -> Tensor:
    """S (B, 1, H, W) -> bool (B, 1, H, W): the `share` of the pixels that matter least, the first among equals."""
    flat = found.flatten(1)
    count = round(share * flat.shape[1])
    lowest = flat.argsort(dim=1, stable=True)[:, :count]
    return torch.zeros_like(flat, dtype=torch.bool).scatter_(1, lowest, True).view_as(found)
