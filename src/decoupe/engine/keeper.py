"""What a training run keeps: checks of health and score, candidates, checkpoints, and the way back after collapse."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor

from decoupe.engine import checkpoint, health
from decoupe.engine.checkpoint import Counters
from decoupe.engine.ema import Average
from decoupe.engine.files import write_atomic
from decoupe.engine.grid import png
from decoupe.engine.launch import World, share_text
from decoupe.engine.pictures import write_labels
from decoupe.engine.progress import Reporter
from decoupe.engine.runfolder import Run
from decoupe.engine.schedule import Plan
from decoupe.engine.tensors import save_tensors
from decoupe.methods.room import Batch, Draw, Phase, Room, Stage, TrainingData, to_unit

RESTARTS = 3
"""Collapses a run may recover from before it gives up, unless it is told another number."""
VALIDATION = 256
"""Images in the fixed set on which health and score are measured (all of them if there are fewer)."""


PATIENCE = 2_000
"""Images of a stage before which nobody can tell collapse from a network that has not learned anything yet."""


class Collapse(Exception):
    """Training has collapsed; the message is one sentence."""


class GaveUp(Exception):
    """Collapsed again after the last restart; the message says how."""


class Keeper:
    """The half of the loop that looks, writes and rolls back; `Loop` is the half that trains."""

    def __init__(
        self,
        room: Room,
        data: TrainingData,
        run: Run,
        reporter: Reporter,
        here: World,
        *,
        batch: int,
        seed: int,
        budget: tuple[int | None, float | None],
        started: float,
        device: torch.device,
        restarts: int = RESTARTS,
    ) -> None:
        self.data, self.run, self.reporter, self.here, self.batch = data, run, reporter, here, batch
        self.budget, self.device, self.restarts = budget, device, restarts
        self.room = room.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.counters = Counters(seed=seed)
        self._clock, self._signal, self._stop = started, 0, False
        self._average = Average(room, (), 0.0)
        self._setup: list[tuple[Phase, Any, Any]] = []
        self._switches: list[list[tuple[Tensor, bool]]] = []
        self._finite = torch.tensor(True, device=device)
        self._areas: Sequence[float] | None = None

    def validation(self) -> Tensor:
        """(n, C, S, S): the fixed images of every check, spread evenly over the data."""
        n = len(self.data.images)
        chosen = np.unique(np.linspace(0, n - 1, min(n, VALIDATION)).astype(np.int64))
        return to_unit(self.data.images[chosen], self.device)

    @torch.no_grad()
    def _check(self, stage: Stage, target: Plan) -> None:
        """Health, label-free score, a candidate, a sample grid, a checkpoint. Collapse if training has collapsed."""
        counters = self.counters
        self.room.eval()
        with ExitStack() as stack:
            stack.enter_context(self._average.applied())
            images = self.validation()
            probs = [self.room.segment(part) for part in torch.split(images, 64)]
            seen = health.look(probs, bool(self._finite), self.room.NEEDS_ALL)
            score = error = None
            if stage.candidate and seen.finite:
                scores = torch.cat([self.room.score(part) for part in torch.split(images, 64)]).double()
                score, error = float(scores.mean()), float(scores.std(correction=0)) / len(scores) ** 0.5
            if self.here.first:
                settled = target.progress(counters) >= stage.settles
                self._keep(stage, seen, {"score": score, "error": error or 0.0, "settled": settled}, images)
        self.room.train()
        self._areas = seen.hard
        counters.checks = max(counters.checks + 1, int(target.progress(counters) * target.checks + 1e-6))
        row = {
            "images": counters.images,
            "stage": stage.name,
            "step": counters.step,
            "seconds": round(counters.seconds, 3),
            "areas": {"hard": seen.hard, "soft": seen.soft},
            "entropy": seen.entropy,
            "dependence": round(seen.dependence, 5),
            "confidence": round(seen.confidence, 5),
            "score": score,
            "error": error,
            "healthy": seen.trouble is None,
        }
        self._write_row(row)
        judged = target.progress(counters) >= stage.watched_from and counters.stage_images >= PATIENCE
        if seen.trouble and (judged or not seen.finite):
            raise Collapse(f"{seen.trouble} (image {counters.images:,})")
        if judged and stage.patience is not None and score is not None and error is not None:
            self._wait(stage, target, score, error)
        counters.healthy = checkpoint.name_of(counters)
        self._save(self._optimisers())

    def _wait(self, stage: Stage, target: Plan, score: float, error: float) -> None:
        """Count the checks in a row whose score did not rise; say so when they end the stage."""
        counters = self.counters
        rises = counters.best is None or score > counters.best + error
        rises = bool(share_text("rises" if rises else "", self.here))
        counters.best, counters.waited = (score, 0) if rises else (counters.best, counters.waited + 1)
        if self._stalled(stage) and target.progress(counters) < 1:
            message = f"{stage.name} stopped early at image {counters.images:,}: the label-free score has not risen "
            message += f"by more than its standard error for {counters.waited} checks"
            self.reporter.note(message)
            row = {"event": "stopped", "stage": stage.name, "images": counters.images, "message": message}
            self._write_row(row)

    def _stalled(self, stage: Stage) -> bool:
        """Whether the label-free score has waited long enough to end the stage."""
        return stage.patience is not None and self.counters.waited >= stage.patience

    def _keep(self, stage: Stage, seen: health.Health, score: Mapping[str, Any], images: Tensor) -> None:
        """Write the candidate's weights and the sample grid."""
        counters = self.counters
        few = Batch(torch.arange(8), images[:8], images[:8].roll(1, 0), Draw(0, 8, device=self.device), 0.0)
        rows = self.room.samples(few)
        write_atomic(self.run.path / f"samples/{counters.images:09d}.png", png(rows))
        if not seen.finite:
            return
        name = f"candidates/{counters.images:09d}.safetensors"
        self.run.info["files"][name] = save_tensors(self.run.path / name, self.weights())
        areas = [round(share, 6) for share in seen.hard]
        entry = {"images": counters.images, "stage": stage.name, "file": name, "areas": areas, **score}
        others = [c for c in self.run.info["candidates"] if c["file"] != name]
        self.run.info["candidates"] = [*others, entry | {"healthy": seen.trouble is None}]

    def _keep_taught(self) -> None:
        """Write the label maps that the stage learns from, again when it is resumed: they are the same then."""
        taught, keys = self.room.taught(), self.data.keys
        if taught is None or not keys or not self.here.first:
            return
        count = len(taught.labels)
        write_labels(self.run.path / taught.name, keys[:count], taught.labels, self.room.regions)
        if taught.name not in self.run.info.get("taught", []):
            self.run.commit(taught=[*self.run.info.get("taught", []), taught.name])
        some = "" if count == len(keys) else f"first {count:,} of "
        self.reporter.note(f"{taught.name}: {some}{len(keys):,} photos, in {self.run.path / taught.name}")

    def weights(self) -> dict[str, Tensor]:
        """What `segment` needs of the room's state."""
        return {k: t for k, t in self.room.state_dict().items() if k.startswith(tuple(self.room.inference))}

    # ------------------------------------------------------------------ saving, resuming, restarting

    def _optimisers(self) -> list[tuple[str, Any]]:
        return [(phase.name, optimiser.optimizer) for phase, _, optimiser in self._setup]

    def _save(self, optimisers: checkpoint.Optimisers) -> None:
        self._saved = time.monotonic()
        if self.here.first:
            checkpoint.save(self.run, self.room, self._average, optimisers, self.counters)

    def _resume(self) -> tuple[Mapping[str, Tensor], Mapping[str, Any]] | None:
        """Load the last committed checkpoint; None if there is none yet."""
        name = self.run.info.get("checkpoint")
        return self._load(name) if name else None

    def _load(self, name: str) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        restarts = self.counters.restarts
        self.counters, tensors, about = checkpoint.load(self.run.verify(name), self.room)
        if len(restarts) > len(self.counters.restarts):
            self.counters.restarts = restarts
        if self.here.first:
            self.run.keep_metrics(self.counters.rows)
            kept = [c for c in self.run.info["candidates"] if c["images"] <= self.counters.images]
            self.run.commit(candidates=kept, checkpoint=name)
            self.run.forget([n for n in self.run.info["files"] if n.startswith("checkpoints/") and n > name])
        self._finite = torch.tensor(True, device=self.device)
        self._clock = time.monotonic() - self.counters.seconds
        return tensors, about

    def _restart(self, trouble: str) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        """Roll back with a new seed: first to the last healthy checkpoint, then to the start of the stage.

        GaveUp when no restart is left; everything seen so far stays in the run folder.
        """
        counters = self.counters
        number = len(counters.restarts) + 1
        if number > self.restarts:
            tried = f"; restart {self.restarts} of {self.restarts} failed too" if self.restarts else ""
            raise GaveUp(f"{trouble}{tried}")
        seed = counters.seed + 1000 * number
        record = {"images": counters.images, "trouble": trouble, "seed": seed}
        counters.restarts = [*counters.restarts, record]
        entries = [n for n in self.run.info["files"] if n.endswith(f"-{counters.stage}-entry/state.safetensors")]
        name = counters.healthy if counters.healthy and number == 1 else (entries or [""])[-1]
        name = share_text(name, self.here)
        if not self.here.first:
            self.run.info = Run.open(self.run.path, verify=False).info
        seconds = counters.seconds
        restored = self._load(name)
        self.counters.seed = seed
        self.counters.seconds, self._clock = seconds, time.monotonic() - seconds
        if self.counters.step == 0 and self.counters.stage == 0:  # from scratch: new initial weights too
            torch.manual_seed(seed)
            self.room.load_state_dict(type(self.room)(self.room.config, self.room.spec).state_dict())
            self.room.to(self.device)
            self.room.prepare(self.data)
        message = f"{trouble}. Rolled back to {self.counters.images:,}, new seed {seed} "
        message += f"(restart {number} of {self.restarts})."
        self.reporter.warn(message)
        self._write_row({"event": "restart", "images": self.counters.images, "message": message})
        return restored

    def _write_row(self, row: Mapping[str, Any]) -> None:
        self.counters.rows += 1
        if self.here.first:
            self.run.log(row)
