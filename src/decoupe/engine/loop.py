"""The training loop of every room: stages, phases, checks, checkpoints, restarts. The only file that names Fabric.

Read `Loop._train` first: it is the whole of training. Everything else here is what a check does.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from decoupe.engine import checkpoint, health, precision
from decoupe.engine.checkpoint import Counters
from decoupe.engine.ema import Average
from decoupe.engine.files import write_atomic
from decoupe.engine.grid import png
from decoupe.engine.launch import World
from decoupe.engine.progress import Reporter
from decoupe.engine.runfolder import Run
from decoupe.engine.schedule import Plan, plan
from decoupe.engine.seeding import image_indices, mix
from decoupe.engine.tensors import save_tensors
from decoupe.errors import Interrupted
from decoupe.methods.room import Batch, Draw, Phase, Room, Stage, TrainingData, to_unit

RESTARTS = 3
"""Collapses a run may recover from before it gives up."""
LOG_EVERY_S = 1.0
AUTOSAVE_S = 240.0
VALIDATION = 256
"""Images in the fixed set on which health and score are measured (all of them if there are fewer)."""


class Collapse(Exception):
    """Training has collapsed; the message is one sentence."""


class GaveUp(Exception):
    """Collapsed again after the last restart; the message says how."""


class Loop:
    """Trains one room into one run folder. `budget` = (images or None, seconds or None)."""

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
    ) -> None:
        self.data, self.run, self.reporter, self.here, self.batch = data, run, reporter, here, batch
        self.budget, self.device = budget, device
        self.room = room.to(device=device, memory_format=torch.channels_last)
        self.counters = Counters(seed=seed)
        self._clock, self._signal, self._healthy = started, 0, ""
        self._average = Average(room, (), 0.0)
        self._setup: list[tuple[Phase, Any, Any]] = []
        self._finite = torch.tensor(True, device=device)
        self._areas: Sequence[float] | None = None

    # ------------------------------------------------------------------ training

    def _train(self, stage: Stage, target: Plan) -> None:
        """One stage, from where its counters stand to its end."""
        counters = self.counters
        while target.progress(counters) < 1 and not self._agree(self._signal):
            batch = self._draw(target.progress(counters))
            scalars: dict[str, Tensor] = {}
            for phase, module, optimiser in self._setup:
                if counters.step % phase.every:
                    continue
                self._only(phase)
                for group in optimiser.param_groups:
                    group["lr"] = group["initial_lr"] * phase.rate(batch.progress)
                loss, logged = module(batch)
                self._fabric.backward(loss)
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
                scalars |= logged
                self._finite &= loss.detach().isfinite().all()
            self._average.update()
            counters.step += 1
            counters.images += self.batch * self.here.size
            counters.stage_images += self.batch * self.here.size
            self._tick()
            self._log(stage, target, scalars)
            if target.due(counters) or not bool(self._finite):
                self._check(stage, target)

    def _draw(self, progress: float) -> Batch:
        """The batch at this position of the run: a function of the seed and the images seen alone."""
        counters, here = self.counters, self.here
        draw = Draw(mix(counters.seed, counters.images), self.batch, here.rank, here.size, self.device)
        first = counters.images + here.rank * self.batch
        indices = image_indices(counters.seed, first, self.batch, len(self.data.images))
        patches = draw.integers(len(self.data.backgrounds)).cpu().numpy()
        return Batch(
            torch.from_numpy(indices).to(self.device),
            to_unit(self.data.images[indices], self.device),
            to_unit(self.data.backgrounds[patches], self.device),
            draw,
            progress,
        )

    def _only(self, phase: Phase) -> None:
        """Gradients for what this phase trains, and for nothing else."""
        self.room.requires_grad_(False)
        for module in phase.trained():
            module.requires_grad_(True)

    # ------------------------------------------------------------------ stages

    def train(self, resume: bool) -> None:
        """All stages; on return the run's candidates and last checkpoint are written. Interrupted after a signal."""
        stages = self.room.stages()
        restored = self._resume() if resume else None
        if restored is None:
            self.room.prepare(self.data)
        if not stages:
            return
        self._fabric = self._make_fabric(stages[0])
        with self._signals():
            while self.counters.stage < len(stages):
                try:
                    self._stage(stages[self.counters.stage], restored)
                except Collapse as collapse:
                    restored = self._restart(str(collapse))
                    continue
                restored = None
                self._next(stages)

    def _stage(self, stage: Stage, restored: tuple[Mapping[str, Tensor], Mapping[str, Any]] | None) -> None:
        counters = self.counters
        if counters.step == 0:
            self._healthy = ""
            torch.manual_seed(mix(counters.seed, counters.stage))
            self._average = Average(self.room, (), 0.0)
            if restored is None:
                self._save(())
        self.room.enter(counters.stage, self.data, counters.step == 0)
        stage = self.room.stages()[counters.stage]
        self._average = Average(self.room, stage.averaged, stage.decay)
        self._setup = []
        for phase in stage.phases:
            self._only(phase)
            optimiser = phase.optimiser()
            for group in optimiser.param_groups:
                group["initial_lr"] = group["lr"]
            self._setup.append((phase, *self._fabric.setup(phase, optimiser)))
        if counters.step and restored is not None:
            checkpoint.restore(self._optimisers(), self._average, *restored)
        target = plan(self.room.stages(), counters, self.batch * self.here.size, *self.budget)
        minutes = None if target.seconds is None else target.seconds / 60
        self.reporter.stage(stage.name, target.images, minutes)
        self._saved = self._logged = time.monotonic()
        self._logged_images = counters.images
        self.room.train()
        self._train(stage, target)
        if self._agree(self._signal):
            self._save(self._optimisers())
            raise Interrupted(counters.images, f"decoupe fit {self.room.NAME} --run {self.run.path} --resume")
        with self._average.applied():
            averaged = {k: t.clone() for k, t in self.room.state_dict().items()}
        self.room.load_state_dict(averaged)  # what a stage hands on is its averaged networks

    def _next(self, stages: Sequence[Stage]) -> None:
        counters = self.counters
        counters.stage += 1
        counters.step = counters.stage_images = counters.checks = 0
        counters.stage_seconds = 0.0
        if counters.stage == len(stages):
            counters.finished = True
            self._average = Average(self.room, (), 0.0)
            self._save(())

    # ------------------------------------------------------------------ checks

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
            probs = [self.room.segment(part) for part in images.split(64)]
            seen = health.look(probs, bool(self._finite))
            score = self.room.score(images) if stage.candidate and seen.finite else None
            if self.here.first:
                self._keep(stage, target, seen, score, images)
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
            "score": score,
            "healthy": seen.trouble is None,
        }
        self._write_row(row)
        if seen.trouble and (target.progress(counters) >= stage.watched_from or not seen.finite):
            raise Collapse(f"{seen.trouble} (image {counters.images:,})")
        self._healthy = self._save(self._optimisers())

    def _keep(self, stage: Stage, target: Plan, seen: health.Health, score: float | None, images: Tensor) -> None:
        """Write the candidate's weights and the sample grid."""
        counters = self.counters
        few = Batch(torch.arange(8), images[:8], images[:8].roll(1, 0), Draw(0, 8, device=self.device), 0.0)
        rows = self.room.samples(few)
        write_atomic(self.run.path / f"samples/{counters.images:09d}.png", png(rows))
        if not seen.finite:
            return
        name = f"candidates/{counters.images:09d}.safetensors"
        self.run.info["files"][name] = save_tensors(self.run.path / name, self.weights())
        entry = {"images": counters.images, "stage": stage.name, "score": score, "file": name}
        others = [c for c in self.run.info["candidates"] if c["file"] != name]
        self.run.info["candidates"] = [*others, entry | {"healthy": seen.trouble is None}]

    def weights(self) -> dict[str, Tensor]:
        """What `segment` needs of the room's state."""
        return {k: t for k, t in self.room.state_dict().items() if k.startswith(tuple(self.room.inference))}

    # ------------------------------------------------------------------ saving, resuming, restarting

    def _optimisers(self) -> list[tuple[str, Any]]:
        return [(phase.name, optimiser.optimizer) for phase, _, optimiser in self._setup]

    def _save(self, optimisers: checkpoint.Optimisers) -> str:
        self._saved = time.monotonic()
        if not self.here.first:
            return ""
        return checkpoint.save(self.run, self.room, self._average, optimisers, self.counters)

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
            self.run.commit(candidates=kept)
        self._finite = torch.tensor(True, device=self.device)
        self._clock = time.monotonic() - self.counters.seconds
        return tensors, about

    def _restart(self, trouble: str) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        """Roll back with a new seed: first to the last healthy checkpoint, then to the start of the stage."""
        counters = self.counters
        number = len(counters.restarts) + 1
        if number > RESTARTS:
            raise GaveUp(f"{trouble}; restart {RESTARTS} of {RESTARTS} failed too")
        record = {"images": counters.images, "trouble": trouble, "seed": counters.seed + 1000 * number}
        counters.restarts = [*counters.restarts, record]
        entries = [n for n in self.run.info["files"] if n.endswith(f"-{counters.stage}-entry/state.safetensors")]
        name = self._healthy if self._healthy and number == 1 else entries[-1]
        seconds = counters.seconds
        restored = self._load(name)
        self.counters.seed = record["seed"]
        self.counters.seconds, self._clock = seconds, time.monotonic() - seconds
        if self.counters.step == 0 and self.counters.stage == 0:  # from scratch: new initial weights too
            torch.manual_seed(record["seed"])
            self.room.load_state_dict(type(self.room)(self.room.config, self.room.spec).state_dict())
            self.room.to(self.device)
            self.room.prepare(self.data)
        message = f"{trouble}. Rolled back to {self.counters.images:,}, new seed {record['seed']} "
        message += f"(restart {number} of {RESTARTS})."
        self.reporter.warn(message)
        self._write_row({"event": "restart", "images": self.counters.images, "message": message})
        return restored

    # ------------------------------------------------------------------ small things

    def _make_fabric(self, stage: Stage) -> Fabric:
        """Fabric for this world; the precision is the recorded one, or chosen by measurement."""
        chosen = self.run.info.get("precision")
        if not chosen:
            images = self._draw(0.0)
            self._only(stage.phases[0])
            chosen, words = precision.measure(self.room, images, self.device)
            self.reporter.note(words)
            if self.here.first:
                self.run.commit(precision=chosen)
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        fabric = Fabric(
            accelerator=self.device.type,
            devices=self.here.local_size,
            num_nodes=self.here.nodes,
            strategy="ddp" if self.here.size > 1 else "auto",
            precision="bf16-mixed" if chosen == "bf16" else "32-true",
        )
        fabric.launch()
        return fabric

    def _agree(self, flag: int) -> bool:
        """Rank 0's clock and everyone's signals, so that all ranks leave the loop at the same step."""
        if self.here.size == 1:
            return bool(flag)
        state = torch.tensor([self.counters.seconds, self.counters.stage_seconds], device=self.device)
        torch.distributed.broadcast(state, 0)
        self.counters.seconds, self.counters.stage_seconds = state.tolist()
        stop = torch.tensor([flag], device=self.device)
        torch.distributed.all_reduce(stop, torch.distributed.ReduceOp.MAX)
        return bool(stop.item())

    def _tick(self) -> None:
        now = time.monotonic() - self._clock
        self.counters.stage_seconds += now - self.counters.seconds
        self.counters.seconds = now

    def _log(self, stage: Stage, target: Plan, scalars: Mapping[str, Tensor]) -> None:
        """About once a second: losses to metrics.jsonl and to the reporter; now and then a checkpoint."""
        now, counters = time.monotonic(), self.counters
        if now - self._logged < LOG_EVERY_S or not self.here.first:
            return
        speed = (counters.images - self._logged_images) / (now - self._logged)
        losses = {name: float(value) for name, value in scalars.items()}
        done = target.progress(counters)
        left = counters.stage_seconds * (1 - done) / done if done > 0 else None
        self.reporter.update(counters.stage_images, speed, left, losses, self._areas)
        row = {"images": counters.images, "stage": stage.name, "step": counters.step}
        finite = {name: value for name, value in losses.items() if np.isfinite(value)}
        self._write_row(
            row | {"seconds": round(counters.seconds, 3), "images_per_s": round(speed, 2), "losses": finite}
        )
        self._logged, self._logged_images = now, counters.images
        if now - self._saved > AUTOSAVE_S:
            self._save(self._optimisers())

    def _write_row(self, row: Mapping[str, Any]) -> None:
        self.counters.rows += 1
        if self.here.first:
            self.run.log(row)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM finish the step in flight, save, and stop; a second one ends at once."""

        def handle(number: int, frame: Any) -> None:
            if self._signal:
                raise KeyboardInterrupt
            self._signal = 1

        try:
            before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not the main thread: the host program keeps its handlers
            before = {}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
