"""The training loop of every room: stages and phases. The only file that names Fabric.

Read `Loop._train` first: it is the whole of training. What a check sees and a run keeps is in keeper.py.
"""

from __future__ import annotations

import logging
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from decoupe.engine import checkpoint, precision
from decoupe.engine.ema import Average
from decoupe.engine.keeper import Collapse, Keeper
from decoupe.engine.launch import share_text
from decoupe.engine.schedule import Plan, plan
from decoupe.engine.seeding import image_indices, mix
from decoupe.engine.signals import handling
from decoupe.errors import Interrupted
from decoupe.methods.room import Batch, Draw, Phase, Stage, to_unit

LOG_EVERY_S = 1.0
AUTOSAVE_S = 240.0


class Loop(Keeper):
    """Trains one room into one run folder. `budget` = (images or None, seconds or None)."""

    # ------------------------------------------------------------------ training

    def _train(self, stage: Stage, target: Plan) -> None:
        """One stage, from where its counters stand to its end."""
        counters = self.counters
        while target.progress(counters) < 1 and not self._stalled(stage) and not self._stop:
            batch = self._draw(target.progress(counters))
            scalars: dict[str, Tensor] = {}
            for (phase, module, optimiser), switches in zip(self._setup, self._switches, strict=True):
                if counters.step % phase.every:
                    continue
                for parameter, trained in switches:
                    parameter.requires_grad_(trained)
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
            self._agree()
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
            counters.stage_images,
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
            counters.healthy = ""
            torch.manual_seed(mix(counters.seed, counters.stage))
            self._average = Average(self.room, (), 0.0)
            if restored is None:
                self._save(())
        self.room.enter(counters.stage, self.data, counters.step == 0)
        self._keep_taught()
        stage = self.room.stages()[counters.stage]
        self._average = Average(self.room, stage.averaged, stage.decay)
        self._setup, self._switches = [], []
        for phase in stage.phases:
            self._only(phase)
            optimiser = phase.optimiser()
            for group in optimiser.param_groups:
                group["initial_lr"] = group["lr"]
            self._setup.append((phase, *self._fabric.setup(phase, optimiser)))
            self._switches.append([(parameter, parameter.requires_grad) for parameter in self.room.parameters()])
        if counters.step and restored is not None:
            checkpoint.restore(self._optimisers(), self._average, *restored)
        self._tick()
        if counters.step == 0:
            counters.stage_seconds = 0.0  # preparing data and targets comes out of the whole budget, not this stage's
        self._agree()
        target = plan(self.room.stages(), counters, self.batch * self.here.size, *self.budget)
        minutes = None if target.seconds is None else target.seconds / 60
        self.reporter.stage(stage.name, target.images, minutes)
        self._saved = self._logged = time.monotonic()
        self._logged_images = counters.images
        self.room.train()
        self._train(stage, target)
        if self._stop:
            self._save(self._optimisers())
            words = ["decoupe", "fit", self.room.NAME, "--run", str(self.run.path), "--resume"]
            raise Interrupted(counters.images, shlex.join(words))
        with self._average.applied():
            averaged = {k: t.clone() for k, t in self.room.state_dict().items()}
        self.room.load_state_dict(averaged)  # what a stage hands on is its averaged networks

    def _next(self, stages: Sequence[Stage]) -> None:
        counters = self.counters
        counters.stage += 1
        counters.step = counters.stage_images = counters.checks = 0
        counters.stage_seconds = 0.0
        counters.best, counters.waited = None, 0
        if counters.stage == len(stages):
            counters.finished = True
            self._average = Average(self.room, (), 0.0)
            self._save(())

    # ------------------------------------------------------------------ small things

    def _make_fabric(self, stage: Stage) -> Fabric:
        """Fabric for this world; the precision is the recorded one, or chosen by measurement."""
        chosen = self.run.info.get("precision")
        if not chosen:
            images = self._draw(0.0)
            self._only(stage.phases[0])
            chosen, words = precision.measure(self.room, images, self.device)
            chosen = share_text(chosen, self.here)
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

    def _agree(self) -> None:
        """Once a step: rank 0's clock, anyone's signal, everyone's losses; so that all ranks do the same next."""
        self._stop = bool(self._signal)
        if self.here.size == 1:
            return
        clock = torch.tensor([self.counters.seconds, self.counters.stage_seconds], dtype=torch.float64)
        clock = clock.to(self.device)
        torch.distributed.broadcast(clock, 0)
        self.counters.seconds, self.counters.stage_seconds = clock.tolist()
        trouble = torch.tensor([self._signal, int(not self._finite)], device=self.device)
        torch.distributed.all_reduce(trouble, torch.distributed.ReduceOp.MAX)
        self._stop, self._finite = bool(trouble[0]), trouble[1] == 0

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
        if now - self._saved > AUTOSAVE_S and not target.due(counters):
            self._save(self._optimisers())

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM finish the step in flight, save, and stop; a second one ends at once."""

        def handle(number: int, frame: Any) -> None:
            if self._signal:
                raise KeyboardInterrupt
            self._signal = 1

        with handling(handle):
            yield
