"""The one phase of each stage: draws scenes, infers latents, and gives the objective of the model that is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from decoupe.losses import variational as v
from decoupe.losses.variational import Gaussian
from decoupe.methods.room import Batch, Draw, Phase
from decoupe.methods.scene_vae import losses
from decoupe.methods.scene_vae.diagnostics import Diagnostics
from decoupe.methods.scene_vae.networks import BackboneEncoder
from decoupe.methods.scene_vae.pool import Pool, Scenes, shown
from decoupe.methods.scene_vae.scene import Scene, Seen

RISE = 0.02
"""Share of the run over which the learning rate rises from zero."""
Others = tuple[Tensor, Tensor] | None
"""Images (B, C, S, S) of which some have no mask, and what is known of their tags (B, K)."""
Terms = dict[str, Tensor]
"""Objective terms by name, each a scalar to maximise, in nats for each pixel."""


def frozen(module: nn.Module, z: Tensor) -> Tensor:
    """`module(z)` whose gradient reaches `z`, but no parameter of `module`."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        found: Tensor = module(z)
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
    return found


class ScenePhase(Phase):
    """Adam on everything, the learning rate along a cosine."""

    name = "scene"

    def __init__(self, scene: Scene, pool: Pool | None, diagnostics: Diagnostics) -> None:
        super().__init__()
        self.scene, self.config = scene, scene.config
        self.diagnostics = diagnostics
        self._pool = [pool]

    def trained(self) -> Sequence[nn.Module]:
        """All networks."""
        return [self.scene]

    def optimiser(self) -> torch.optim.Optimizer:
        """Adam; a backbone with weights has a smaller rate."""
        see = self.scene.see
        given = isinstance(see, BackboneEncoder) and bool(self.config.weights)
        slow = {id(p) for p in see.body.parameters()} if isinstance(see, BackboneEncoder) and given else set()
        rates = {False: self.config.lr, True: self.config.lr * self.config.backbone_rate}
        groups = [
            {"params": [p for p in self.scene.parameters() if (id(p) in slow) == which], "lr": rate}
            for which, rate in rates.items()
        ]
        return torch.optim.Adam([group for group in groups if group["params"]], self.config.lr, fused=True)

    def rate(self, progress: float) -> float:
        """Up over the first fiftieth of the run, then down to zero along a cosine."""
        return min(1.0, progress / RISE + 0.01) * 0.5 * (1 + math.cos(math.pi * progress))

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Minus the objective in nats for each pixel, and its terms."""
        pool = self._pool[0]
        if pool is None:
            raise RuntimeError("the room reads its masks before it trains")
        scenes = pool.draw(batch.draw)
        others = None
        if not pool.complete:
            views = shown(batch.images, self._nothing(batch.images), batch.draw, self.config)[0]
            others = views, pool.tags_of(batch.indices)
        heat = self._heat(batch.progress)
        bounds, logged = self._bounds(scenes, others, batch.draw, heat)
        if self.diagnostics.due(batch):
            self.diagnostics.look(self.scene, pool)
            if self.config.diagnose:
                again, _ = self._bounds(scenes, others, batch.draw, heat)
                self.diagnostics.compare(self.scene, bounds, again)
        loss = -self._whole(bounds)
        return loss, {"loss": loss.detach()} | {k: t.detach() for k, t in logged.items()} | self.diagnostics.latest

    def _nothing(self, images: Tensor) -> Tensor:
        return torch.zeros(len(images), *images.shape[2:], dtype=torch.int64, device=images.device)

    def _heat(self, progress: float) -> float:
        """Weight of the KL terms."""
        config = self.config
        return config.kl_weight * (min(1.0, progress / config.warm_up) if config.warm_up else 1.0)

    def _whole(self, bounds: Mapping[str, Tensor]) -> Tensor:
        extra = [term for name, term in bounds.items() if name.startswith("+")]
        total = losses.telbo([term for name, term in bounds.items() if not name.startswith("+")])
        for term in extra:
            total = total + term
        return total

    # ------------------------------------------------------------------ bounds of each kind of model

    def _bounds(self, scenes: Scenes, others: Others, draw: Draw, heat: float) -> tuple[Terms, Terms]:
        """The bounds that are averaged (those named + are added), and what each consists of."""
        kind = self.config.model
        if kind == "unet":
            logits = self.scene.draw(scenes.images, self.scene.see(scenes.images), None)
            found = (v.mask_likelihood(logits, scenes.labels) * scenes.weights).mean() / self._pixels
            return {"mask": found}, {"mask": found}
        if kind == "cvae":
            return self._conditional(scenes, draw, heat)
        return self._joint(scenes, others, draw, heat)

    @property
    def _pixels(self) -> int:
        return self.config.size**2

    def _drawn(self, q: Gaussian, samples: int, draw: Draw) -> Tensor:
        """(K, B, Z, g, g)."""
        noise = draw.normal(samples, *q.mean.shape[1:]).movedim(1, 0)
        return v.reparameterise(q, noise)

    def _conditional(self, scenes: Scenes, draw: Draw, heat: float) -> tuple[Terms, Terms]:
        """Equation 8; with the cross term also log p(mask | image, z) for z of the prior, as it is used later."""
        scene, config = self.scene, self.config
        maps, prior = scene.conditioned(scenes.images)
        written = scene.read(scene.shares(scenes.labels))[-1]
        q: Gaussian = scene.posterior(torch.cat([maps[-1], written], 1))
        z = self._drawn(q, config.samples, draw)
        each = [v.mask_likelihood(scene.draw(scenes.images, maps, one), scenes.labels) for one in z]
        likelihood = config.mask_weight * torch.stack(each) * scenes.weights
        bound = losses.elbo(likelihood, z, q, prior, heat, config.free_bits) / self._pixels
        spent = v.kl(q, prior).sum(1).mean() / self._pixels
        terms, logged = {"ELBO": bound}, {"mask": torch.stack(each).mean() / self._pixels, "KL": spent}
        if config.cross:
            (one,) = self._drawn(prior or v.standard(q), 1, draw)
            found = v.mask_likelihood(scene.draw(scenes.images, maps, one), scenes.labels) * scenes.weights
            logged["mask from image"] = found.mean() / self._pixels
            terms["+cross"] = config.cross * config.mask_weight * logged["mask from image"]
        return terms, logged

    def _joint(self, scenes: Scenes, others: Others, draw: Draw, heat: float) -> tuple[Terms, Terms]:
        """Equations 9 to 11, or what the other joint models make of them."""
        scene, config = self.scene, self.config
        seen = Seen(scenes.images, scenes.tags, scene.shares(scenes.labels))
        image, mask = scene.encoded(seen)
        if image is None or mask is None:
            raise RuntimeError("labelled scenes have every part")
        tagged = (draw.uniform() >= config.tag_dropout).float()
        q = scene.joint(seen, image, mask, tagged if config.model != "jvae" else None)
        z = self._drawn(q, config.samples, draw)
        parts = self._explained(z, scenes, ("image", "tags", "mask"), False)
        terms, logged = Terms(), Terms()
        terms["joint"] = self._bound(parts, z, q, heat)
        self._log(logged, "joint", parts, q)
        if config.model == "jvae":
            return terms, logged
        rho, nu = scene.subset(image, scenes.tags, None, tagged), scene.subset(None, None, mask)
        if config.model == "jmvae":
            pressed = losses.jmvae(torch.zeros((), device=z.device), q, (rho, nu), config.unimodal) / self._pixels
            terms["+KL to subsets"] = logged["KL to subsets"] = pressed
        else:
            self._retrofitted(terms, logged, scenes, others, (rho, nu), draw, heat)
        if config.cross:
            logged["mask from image"] = self._cross(rho, scenes, draw)
            terms["+cross"] = config.cross * config.mask_weight * logged["mask from image"]
        return terms, logged

    def _retrofitted(
        self, terms: Terms, logged: Terms, scenes: Scenes, others: Others, subsets: tuple[Gaussian, Gaussian],
        draw: Draw, heat: float,
    ) -> None:  # fmt: skip
        """Equations 10 and 11. Images without a mask take part in equation 10."""
        config, stopped = self.config, self.config.decoder_gradient == "stopped"
        rho, nu = subsets
        first = scenes
        if others is not None:
            images, tags = others
            first = Scenes(images, scenes.labels, tags, scenes.weights)
            shown_tags = (draw.uniform() >= config.tag_dropout).float()
            rho = self.scene.subset(self.scene.see(images)[-1], tags, None, shown_tags)
        for name, q, explained, observed in (
            ("image+tags", rho, first, ("image", "tags")), ("mask only", nu, scenes, ("mask",)),
        ):  # fmt: skip
            z = self._drawn(q, config.retrofit_samples, draw)
            parts = self._explained(z, explained, observed, stopped)
            terms[name] = self._bound(parts, z, q, heat, config.retrofit_samples)
            self._log(logged, name, parts, q)

    def _explained(self, z: Tensor, scenes: Scenes, parts: Sequence[str], stopped: bool) -> Terms:
        """(K, B) log-likelihoods of these parts of the scenes, without their weights."""
        scene = self.scene
        samples, flat = len(z), z.flatten(0, 1)

        def made(module: nn.Module) -> Tensor:
            return frozen(module, flat) if stopped else module(flat)

        def many(x: Tensor) -> Tensor:
            return x if samples == 1 else x.repeat(samples, *(1 for _ in x.shape[1:]))

        found = Terms()
        if "image" in parts:
            pixel = v.gaussian_likelihood if self.config.likelihood == "gaussian" else v.logistic_likelihood
            scale = scene.paint.log_scale.detach() if stopped else scene.paint.log_scale
            found["image"] = pixel(made(scene.paint), many(scenes.images), scale.clamp(-4, 1))
        if "tags" in parts:
            found["tags"] = v.tags_likelihood(made(scene.tell), many(scenes.tags))
        if "mask" in parts:
            each = v.mask_likelihood(made(scene.draw), many(scenes.labels))
            found["mask"] = each * many(scenes.weights)
        return {name: term.view(samples, -1) for name, term in found.items()}

    def _bound(self, parts: Terms, z: Tensor, q: Gaussian, heat: float, samples: int = 1) -> Tensor:
        config = self.config
        weights = {"image": config.image_weight, "tags": config.tags_weight, "mask": config.mask_weight}
        likelihood = torch.stack([weights[name] * term for name, term in parts.items()]).sum(0)
        bits = config.free_bits if len(z) == 1 else 0.0
        return losses.elbo(likelihood, z, q, None, heat, bits) / self._pixels

    def _cross(self, rho: Gaussian, scenes: Scenes, draw: Draw) -> Tensor:
        """log p(mask | z), z inferred from image and tags: nats for each pixel."""
        parts = self._explained(self._drawn(rho, 1, draw), scenes, ("mask",), False)
        return parts["mask"].mean() / self._pixels

    def _log(self, logged: Terms, name: str, parts: Terms, q: Gaussian) -> None:
        for part, term in parts.items():
            logged[f"{name}: {part}"] = term.mean() / self._pixels
        logged[f"{name}: KL"] = v.kl(q).sum(1).mean() / self._pixels
