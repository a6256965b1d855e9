"""Data sets of one kind of object per photo: horses, birds, faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from decoupe.data.boxes import read_table
from decoupe.data.decode import conform, read_image
from decoupe.data.layouts.base import (
    Dataset,
    Layout,
    Missing,
    Sample,
    above_half,
    file,
    folder,
    images,
    lines,
    thirds,
    with_keys,
)
from decoupe.types import Labels


def weizmann_horse(root: Path) -> Dataset:
    """Side views of horses; there is no official split."""
    photos, masks = images(folder(root, "rgb")), images(folder(root, "figure_ground"))
    samples = [
        Sample(key, path, "all", masks.get(stem), reader=above_half)
        for (stem, path), key in zip(photos.items(), with_keys(photos), strict=True)
    ]
    return Dataset(
        "weizmann_horse", root, ("background", "horse"), samples, "figure_ground above 127; no split: all images"
    )


def cub200(root: Path) -> Dataset:
    """CUB-200-2011 birds with boxes; segmentations may lie beside or inside the main folder."""
    main = root / "CUB_200_2011" if (root / "CUB_200_2011").is_dir() else root
    photos = folder(main, "images")
    names = {words[0]: words[1] for words in lines(file(main, "images.txt")) if len(words) > 1}
    boxes = dict(read_table(file(main, "bounding_boxes.txt")))
    places = [place for place in (main / "segmentations", main.parent / "segmentations") if place.is_dir()]
    truths = images(places[0]) if places else {}
    present = {name: photos / name for name in names.values() if (photos / name).is_file()}
    if not present:
        raise Missing("none of the images of images.txt in images/")
    stems = [Path(name).with_suffix("").as_posix() for name in present]
    splits = thirds(stems, (10000, 788, 1000), ("train", "val", "test"))
    samples = [
        Sample(key, path, splits[stem], truths.get(stem), boxes.get(name), above_half)
        for (name, path), stem, key in zip(present.items(), stems, with_keys(stems), strict=True)
    ]
    return Dataset(
        "cub200", root, ("background", "bird"), samples,
        "segmentation above 127 (most annotators agree); 10000 / 788 / 1000 images by hash of the name",
    )  # fmt: skip


def parts(path: Path) -> Labels:
    """Object = hair (red) or skin (green); background is painted blue."""
    pixels = conform(read_image(path), 3)
    return np.asarray((pixels[..., 0] > 127) | (pixels[..., 1] > 127), dtype=np.int64)


def lfw(root: Path) -> Dataset:
    """Labelled Faces in the Wild, funneled, with part labels of 2,927 faces. Faces without labels are `train`."""
    photos = images(folder(root, "lfw_funneled"))
    truths = images(folder(root, "parts_lfw_funneled_gt_images"))
    by_name = {Path(stem).name: path for stem, path in truths.items()}
    labelled = [stem for stem in photos if Path(stem).name in by_name]
    splits = thirds(labelled, (1327, 1600), ("val", "test"))
    samples = [
        Sample(key, path, splits.get(stem, "train"), by_name.get(Path(stem).name), reader=parts)
        for (stem, path), key in zip(photos.items(), with_keys(photos), strict=True)
    ]
    return Dataset(
        "lfw", root, ("background", "head"), samples,
        "hair and skin against background; train = faces without labels, val 1327 / test 1600 by hash of the name",
    )  # fmt: skip


def celeba(root: Path) -> Dataset:
    """CelebA photos as found, with face boxes; it has no masks."""
    photos = images(folder(root, "img_celeba", "Img/img_celeba", "img_celeba.7z/img_celeba", "images"))
    boxes = dict(read_table(file(root, "list_bbox_celeba.txt", "Anno/list_bbox_celeba.txt")))
    places = [root / name for name in ("list_eval_partition.txt", "Eval/list_eval_partition.txt")]
    partition = next((place for place in places if place.is_file()), None)
    names = {"0": "train", "1": "val", "2": "test"}
    splits = {w[0]: names.get(w[1], "train") for w in lines(partition) if len(w) > 1} if partition else {}
    samples = [
        Sample(key, path, splits.get(path.name, "all"), None, boxes.get(path.name))
        for path, key in zip(photos.values(), with_keys(photos), strict=True)
    ]
    return Dataset("celeba", root, ("background", "face"), samples, "boxes only: nothing to score masks with")


LAYOUTS = {
    "weizmann_horse": Layout("rgb/horseNNN.jpg, figure_ground/horseNNN.jpg", weizmann_horse),
    "cub200": Layout(
        "images/CLASS/NAME.jpg, images.txt, bounding_boxes.txt, segmentations/CLASS/NAME.png"
        " (in CUB_200_2011/ or in the folder itself)",
        cub200,
    ),
    "lfw": Layout("lfw_funneled/NAME/NAME_NNNN.jpg, parts_lfw_funneled_gt_images/NAME_NNNN.ppm", lfw),
    "celeba": Layout("img_celeba/NNNNNN.jpg, list_bbox_celeba.txt, list_eval_partition.txt (optional)", celeba),
}
