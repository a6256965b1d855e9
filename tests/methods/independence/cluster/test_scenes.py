"""Composites and their truth; views and votes; what comes out equals what was put in."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from decoupe.errors import Fault
from decoupe.methods.independence.cluster import votes, whole
from decoupe.methods.independence.cluster.scenes import Variety, compose, targets
from decoupe.methods.independence.cluster.segmenter import (
    TILE,
    loss,
    maps_of,
    segmenter,
    unview,
    view,
)
from decoupe.methods.independence.cluster.sprites import (
    THING,
    WINDOW,
    Material,
    colour_foreground,
    cut_out,
    gather,
    paint_over,
)


def material(count: int = 4) -> Material:
    """Disks of slightly different sizes and colours on a dark noisy ground."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:WINDOW, :WINDOW] - (WINDOW - 1) / 2
    sprites = []
    for number in range(count):
        mask = (y**2 + x**2 <= (THING / 2 - 1 + number) ** 2).astype(np.float32)
        sprites.append(np.concatenate([np.full((3, WINDOW, WINDOW), 0.2 + 0.1 * number, np.float32), mask[None]]))
    ground = rng.normal(-0.8, 0.05, (3, 80, 90)).astype(np.float32)
    foreground = np.zeros((80, 90), np.float32)
    foreground[:40] = 1
    return Material(np.stack(sprites), np.full(count, 1 / count), ground, foreground)


def test_composites_follow_from_their_seeds_alone() -> None:
    first = compose(material(), 64, np.array([3, 4]))
    second = compose(material(), 64, np.array([9, 4, 3]))
    assert np.array_equal(first[0].image, second[2].image) and np.array_equal(first[1].labels, second[1].labels)
    assert not np.array_equal(first[0].image, first[1].image)


def test_masks_are_exact() -> None:
    """Where the truth says ground the picture is dark, where it says thing it is bright: blurred borders left out."""
    for scene in compose(material(), 64, np.arange(6), Variety(light=0.0)):
        bright = scene.image.mean(0) > -0.4
        wrong = bright != (scene.labels > 0)
        edge = np.zeros_like(wrong)
        for axis in (0, 1):
            for step in (-2, -1, 1, 2):
                edge |= np.roll(scene.labels, step, axis) != scene.labels
        assert wrong[~edge].mean() < 0.01


def test_no_thing_is_hidden_more_than_allowed() -> None:
    for hidden in (0.0, 0.4):
        least = 1.0
        for scene in compose(material(1), 64, np.arange(12), Variety(scale=0.0, hidden=hidden)):
            for number, (y, x) in enumerate(scene.centres, start=1):
                if 14 < y < 50 and 14 < x < 50:
                    least = min(least, (scene.labels == number).sum() / (np.pi * (THING / 2 - 1) ** 2))
        assert least > 1 - hidden - 0.06
        assert hidden == 0 or least < 0.95


def test_targets_point_to_the_centre_of_the_whole_thing() -> None:
    scene = compose(material(), 64, np.array([1]))[0]
    found = targets(scene.labels, scene.centres)
    for row in range(0, 64, 5):
        for column in range(0, 64, 5):
            number = int(scene.labels[row, column])
            assert found[0, row, column] == (number > 0)
            if number:
                y, x = scene.centres[number - 1]
                assert found[1, row, column] == pytest.approx((y - row) / THING, abs=1e-5)
                assert found[2, row, column] == pytest.approx((x - column) / THING, abs=1e-5)
            else:
                assert not found[1:, row, column].any()


def test_votes_give_back_what_the_targets_were_made_of() -> None:
    for scene in compose(material(), 64, np.arange(8), Variety(hidden=0.4)):
        labels, sizes = votes.count(targets(scene.labels, scene.centres))
        true = np.bincount(scene.labels.ravel())[1:]
        large = 1 + np.flatnonzero(true > 0.3 * np.pi / 4 * THING**2)
        fits = whole.best_iou(scene.labels, labels)
        assert len(sizes) == labels.max() and (fits[large - 1] > 0.8).mean() > 0.9


def test_no_votes_no_things() -> None:
    labels, sizes = votes.count(np.zeros((3, 40, 40), np.float32))
    assert labels.max() == 0 and len(sizes) == 0


@pytest.mark.parametrize("number", range(8))
def test_views_undo_themselves_and_turn_the_offsets(number: int) -> None:
    """The targets of a turned scene, turned back, are the targets of the scene."""
    scene = compose(material(), 64, np.array([5]))[0]
    straight = torch.from_numpy(targets(scene.labels, scene.centres))[None]
    ids = torch.from_numpy(scene.labels)[None, None]
    turned_ids = view(ids, number)[0, 0].numpy()
    rows, columns = np.indices((64, 64))
    centres = []
    for y, x in scene.centres:  # the centre turns as the pixels around it do: solve for it by coordinates
        planes = [torch.from_numpy(p.astype(np.float32))[None, None] for p in (rows, columns)]
        ry, rx = (view(p, number)[0, 0].numpy() for p in planes)
        slope = [(p[1, 0] - p[0, 0], p[0, 1] - p[0, 0], p[0, 0]) for p in (ry, rx)]
        matrix = np.array([s[:2] for s in slope])
        centres.append(np.linalg.solve(matrix, np.array([y, x]) - np.array([s[2] for s in slope])))
    turned = targets(turned_ids, np.array(centres, np.float32).reshape(-1, 2))
    assert torch.allclose(unview(torch.from_numpy(turned)[None], number), straight, atol=1e-4)


def test_tiles_of_a_large_image_leave_no_seam() -> None:
    """Where the network sees no border, blended tiles give what the whole image gives."""
    torch.manual_seed(0)
    network = segmenter(1, 4).eval()
    image = torch.rand(1, 1, 80, TILE + 208, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        tiled = maps_of(network, image)
        direct = network(image).float()
    direct = torch.cat([direct[:, :1].sigmoid(), direct[:, 1:]], 1)
    assert tiled.shape == (1, 3, 80, TILE + 208)
    assert float((tiled - direct)[..., :190].abs().max()) < 1e-4
    assert float((tiled - direct).abs().max()) < 0.1


def test_unknown_pixels_do_not_count() -> None:
    torch.manual_seed(0)
    output, target = torch.randn(2, 3, 8, 8), torch.rand(2, 3, 8, 8).round()
    known = torch.ones(2, 8, 8)
    known[:, :4] = 0
    changed = output.clone()
    changed[:, :, :4] += 5
    assert all(
        torch.equal(a, b) for a, b in zip(loss(output, target, known), loss(changed, target, known), strict=True)
    )
    mask, _ = loss(output, target, known)
    p = torch.sigmoid(output[:, 0, 4:])
    expected = -(target[:, 0, 4:] * p.log() + (1 - target[:, 0, 4:]) * (1 - p).log()).mean()
    assert float(mask) == pytest.approx(float(expected), rel=1e-4)


def test_best_iou_against_pairs() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, (20, 20)).astype(np.int32), rng.integers(0, 4, (20, 20)).astype(np.int32)
    for number, found in enumerate(whole.best_iou(a, b), start=1):
        pairs = [((a == number) & (b == k)).sum() / ((a == number) | (b == k)).sum() for k in (1, 2, 3)]
        assert found == pytest.approx(max(pairs))


def test_sprites_are_the_things_without_their_surroundings() -> None:
    unit = np.full((1, 70, 70), -0.5, np.float32)
    labels = np.zeros((70, 70), np.int32)
    labels[20:32, 30:48], labels[0:6, 0:6] = 1, 2  # the border cuts the second
    unit[:, labels == 1] = 0.5
    sprites, kept = cut_out(unit, labels)
    assert kept.tolist() == [0] and sprites.shape == (1, 2, WINDOW, WINDOW)
    assert float(sprites[0, 0].min()) == 0.5
    y, x = np.nonzero(sprites[0, 1] > 0.5)
    assert len(y) == pytest.approx(12 * 18, abs=8)
    assert abs(y.mean() - WINDOW / 2) < 1 and abs(x.mean() - WINDOW / 2) < 1


def test_painting_over_keeps_the_known_and_takes_away_the_rest() -> None:
    unit = np.full((1, 60, 60), -0.6, np.float32) + np.random.default_rng(0).normal(0, 0.02, (1, 60, 60)).astype("f4")
    known = np.ones((60, 60), bool)
    known[20:40, 20:40] = False
    unit[:, ~known] = 0.9
    painted = paint_over(unit, known)
    assert np.allclose(painted[:, known], unit[:, known])
    assert abs(float(painted[:, ~known].mean()) + 0.6) < 0.05 and 0.002 < float(painted[:, ~known].std()) < 0.05


def test_material_needs_a_whole_thing() -> None:
    with pytest.raises(Fault, match="instance-px"):
        gather(np.full((64, 64, 1), 9, np.uint8), np.zeros((64, 64), np.int32), np.zeros(0))


def test_things_are_enlarged_smoothly() -> None:
    y, x = np.mgrid[:40, :40]
    labels = np.where((y - 20) ** 2 + (x - 12) ** 2 <= 49, 1, np.where((y - 20) ** 2 + (x - 27) ** 2 <= 49, 2, 0))
    found = whole.Found(labels.astype(np.int32), (labels > 0).astype(np.float32), np.ones(2), (2,))
    large, chance = whole.enlarge(found, 160, 160)
    assert chance.shape == large.shape == (160, 160)
    yy, xx = (np.mgrid[:160, :160] + 0.5) / 4 - 0.5
    for number, centre in ((1, 12), (2, 27)):
        true = (yy - 20) ** 2 + (xx - centre) ** 2 <= 6.9**2
        union = ((large == number) | true).sum()
        assert ((large == number) & true).sum() / union > 0.93


def test_things_of_another_colour_are_not_taken_for_ground() -> None:
    """Proposals are grey disks on black; a yellow one that touches one of them was not proposed."""
    y, x = np.mgrid[:90, :90]
    image = np.random.default_rng(0).integers(4, 16, (90, 90, 3)).astype(np.uint8)
    labels = np.zeros((90, 90), np.int32)
    for number, (cy, cx) in enumerate([(20, 20), (20, 60), (60, 20)], start=1):
        disk = (y - cy) ** 2 + (x - cx) ** 2 <= 121
        image[disk], labels[disk] = (150, 150, 155), number
    yellow = ((y - 60) ** 2 + (x - 42) ** 2 <= 121) & (labels == 0)
    image[yellow] = (170, 140, 70)
    found = colour_foreground(image, labels)
    dark = image.sum(2) < 60
    assert found[labels > 0].min() > 0.8 and np.median(found[dark]) < 0.1 and np.median(found[yellow]) > 0.45


def test_a_long_thing_whose_ends_disagree_stays_one_and_two_things_stay_two() -> None:
    """Offsets that reach only part of the way: votes of the two halves gather apart, with no valley between them."""
    y, x = np.mgrid[:50, :80]
    long = ((y - 25) / 6.0) ** 2 + ((x - 40) / 24.0) ** 2 <= 1
    side = np.sign(x - 40)
    goal = 40 + side * np.clip(np.abs(x - 40) * 0.45, 0, 5)
    maps = np.stack([long.astype(np.float32), np.where(long, 25 - y, 0) / THING, np.where(long, goal - x, 0) / THING])
    assert votes.count(maps.astype(np.float32))[0].max() == 1
    assert votes.count(maps.astype(np.float32), votes.Counting(valley=9.0, apart=0.2))[0].max() == 2
    pair = np.where(long, np.where(x < 40, 26, 54) - x, 0) / THING
    assert votes.count(np.stack([maps[0], maps[1], pair]).astype(np.float32))[0].max() == 2
