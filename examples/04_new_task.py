"""A new task of the independence prior, from its parts: python examples/04_new_task.py PHOTOS --steps 400

Objects that lie in any position (shells, leaves, tools), three to a picture: a U-Net carves one out of each photo, the
layout turns, scales and shifts it, and three of them go over an unrelated background. The masks are right when the
discriminator cannot tell such a picture from photos seen under the same warps.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from decoupe.data.backgrounds import background_cache
from decoupe.data.cache import survey_and_cache
from decoupe.data.sources import find
from decoupe.methods.independence import losses
from decoupe.methods.independence.cluster.layout import pose, stack
from decoupe.methods.independence.networks import PooledDiscriminator
from decoupe.methods.independence.providers import foreground
from decoupe.methods.room import to_unit
from decoupe.nn.unet import UNet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--out", type=Path, default=Path("masks.npy"), help="masks of all photos, (N, 32, 32)")
    given, size, n = parser.parse_args(), 32, 8

    survey, photos = survey_and_cache(find(given.photos), size)
    grounds, _ = background_cache(survey.items, size, survey.channels)
    masks = UNet(survey.channels, 16, 3, "batch")
    judge = PooledDiscriminator(survey.channels, size, (2,), 32)
    mask_adam = torch.optim.Adam(masks.parameters(), 4e-4, (0.5, 0.999))
    judge_adam = torch.optim.Adam(judge.parameters(), 8e-4, (0.5, 0.999))
    rng = np.random.default_rng(0)
    for step in range(given.steps):
        seen = to_unit(photos[rng.integers(len(photos), size=3 * n)])
        carved = foreground(masks, seen)  # the provider: each instance independent of the others
        layers = torch.cat([carved.image, carved.mask], 1)
        scale, angle = torch.empty(3 * n).uniform_(0.4, 0.8), torch.empty(3 * n).uniform_(0, 2 * torch.pi)
        moved = pose(layers, scale, angle, torch.empty(3 * n, 2).uniform_(-0.5, 0.5))  # the layout, Eq. 4
        made = stack(moved.unflatten(0, (n, 3)), to_unit(grounds[rng.integers(len(grounds), size=n)]))  # Eq. 5
        real = pose(seen[:n], torch.ones(n), angle[:n], torch.zeros(n, 2))
        score = [judge(torch.cat([real, fake]))[0].chunk(2) for fake in (made.detach(), made)]
        against = losses.generator_hinge(score[1][1]) + 50 * losses.area_penalty(carved.mask, 0.25, 0.1)  # Eq. 7
        mask_adam.zero_grad(), against.backward(), mask_adam.step()
        judge_adam.zero_grad(), losses.discriminator_hinge(*score[0]).backward(), judge_adam.step()  # Eq. 6
        if step % 50 == 0:
            print(f"step {step}: masks cover {float(carved.mask.detach().mean()):.0%} of the photos")
    np.save(given.out, torch.sigmoid(masks.eval()(to_unit(photos[np.arange(len(photos))])))[:, 0].detach().numpy())


if __name__ == "__main__":
    main()
