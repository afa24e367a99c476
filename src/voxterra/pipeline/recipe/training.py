"""Training voxels on photos with known cameras, as a run: stages that yield typed events."""

from __future__ import annotations

import json
import logging
import shlex
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from voxterra.core.progress import Progress
from voxterra.core.scope import Scope, iterated_in
from voxterra.core.version import VERSION
from voxterra.errors import (
    Cancelled,
    FormatError,
    InputError,
    UsageError,
    VoxterraError,
    is_out_of_memory,
)
from voxterra.io.depth_store import write_views
from voxterra.pipeline import events as ev
from voxterra.pipeline.engine.collected_warnings import collecting_warnings
from voxterra.pipeline.engine.executor import execute
from voxterra.pipeline.engine.tasks import ENGINES, Task
from voxterra.pipeline.events import Event
from voxterra.pipeline.failures import as_user_error, failure
from voxterra.pipeline.folder.journal import (
    JOURNAL_FILE,
    LOG_FILE,
    logging_to,
    write_event,
)
from voxterra.pipeline.folder.lock import LOCK_FILE, locked
from voxterra.pipeline.machine import peak_rss_bytes, reset_peak_rss
from voxterra.pipeline.recipe.posed_photos import needs_stereo, with_stereo
from voxterra.surface.voxels.model import folder
from voxterra.surface.voxels.options import Training
from voxterra.surface.voxels.scene.load import check_source, load_scene
from voxterra.surface.voxels.scene.scene import Scene

log = logging.getLogger(__name__)

T = TypeVar("T")


def train_on_photos(
    training: Training, out: Path, *, resume: bool = False, warnings: Iterable[str] = ()
) -> Generator[Event, None, None]:
    """Train voxels on photos with known cameras, and yield events about it.

    The stages are "photos", "stereo" where depth maps are asked for and missing, "train", and
    "views" where photos are held out: those are rendered and compared. Closing the generator stops
    the training, which writes a checkpoint first.

    Args:
        training: photos and options.
        out: folder of the model (`surface.voxels.model.folder`), with a log and a journal as a run
            folder has them. Without `resume` an earlier model there is deleted once the photos are
            read.
        resume: from the last checkpoint in `out`, if there is one.
        warnings: found before the start.

    Yields:
        events; the last is `RunFinished` or `RunFailed`.

    Raises:
        VoxterraError: any error, after `RunFailed` once the training has started.
    """
    from voxterra.surface.voxels.device import require_devices, require_torch

    require_torch()
    require_devices(training.config)
    if training.source_path is None:
        raise UsageError(
            "No input folder given.",
            where="voxterra train",
            next_step="Name a folder with photos and cameras: --source_path DATA.",
        )
    check_source(training.source_path)
    scope = Scope(f"training in {out}")
    running = _Training(training, training.source_path, out, resume)
    yield from iterated_in(scope, _logged(running, warnings, scope))


def stopped(out: Path, begun: float, *, resume: bool) -> Cancelled:
    """Message when the user stops a training: how to resume it.

    Args:
        out: folder of the model.
        begun: when it began, as `time.time()`.
        resume: whether it resumed from a checkpoint.
    """
    quoted, step = shlex.quote(str(out)), "Nothing is there to resume from yet; start again."
    # Until the photos are read, an older model's files may be there.
    if _is_newer(out / folder.MODEL, begun):
        step = f"The model is trained; score it: voxterra eval views {quoted}"
    elif any(resume or _is_newer(file, begun) for file in (out / folder.CHECKPOINTS).glob("*")):
        step = f"Resume from the last checkpoint: voxterra train --model_path {quoted} --resume"
    return Cancelled("The training was stopped.", next_step=step)


def _is_newer(file: Path, begun: float) -> bool:
    return file.is_file() and file.stat().st_mtime >= begun


def _logged(
    running: _Training, warnings: Iterable[str], scope: Scope
) -> Generator[Event, None, None]:
    """The events of a training, with a lock, a log and a journal in its folder."""
    out = running.out
    out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(locked(out / LOCK_FILE))
        stack.enter_context(logging_to(out / LOG_FILE, scope))
        for event in running.events(warnings):
            write_event(out / JOURNAL_FILE, event)
            yield event


@dataclass
class _Training:
    """One training: its current stage, and its start time."""

    training: Training
    source: Path
    out: Path
    resume: bool
    current: str | None = None
    begun: float = field(default_factory=time.time)

    def events(self, warnings: Iterable[str]) -> Generator[Event, None, None]:
        start = time.perf_counter()
        config = self.training.config
        names = ("photos", *("stereo",) * config.stereo, "train", *("views",) * config.eval)
        log.info("Voxterra %s trains in %s", VERSION, self.out)
        yield ev.RunStarted(str(self.out), names, VERSION)
        try:
            yield from (ev.StageWarning("train", message) for message in warnings)
            yield from self._stages()
        except GeneratorExit:
            log.info("stopped in stage %s", self.current)
            raise
        except BaseException as error:
            shown = self._shown(error)
            yield failure(shown, self.current, folder=self.out)
            raise (as_user_error(shown, self.current, self.out) or error) from error
        yield from self._products()
        yield ev.RunFinished(str(self.out), round(time.perf_counter() - start, 3), None)

    def _stages(self) -> Generator[Event, None, None]:
        config = self.training.config
        scene = yield from self._do("photos", self._photos)
        if not self.resume:
            folder.clear(self.out)
        if needs_stereo(scene, config):
            given, work_dir = scene, self.out / "stereo"

            def stereo(progress: Progress) -> tuple[Scene, str]:
                found = with_stereo(given, config, work_dir, progress=progress)
                maps = sum(view.prior is not None for view in found.training)
                return found, f"depth maps of {maps} of {len(found.training)} photos"

            scene = yield from self._do("stereo", stereo, resumed=work_dir.is_dir())
        there = self.resume and (self.out / folder.CHECKPOINTS).is_dir()
        yield from self._do("train", lambda progress: self._train(scene, progress), resumed=there)
        if scene.held_out:
            yield from self._do("views", lambda progress: self._views(scene, progress))

    def _do(
        self, name: str, work: Callable[[Progress], tuple[T, str]], resumed: bool = False
    ) -> Generator[Event, None, T]:
        """A stage in a thread of its own; `work` returns its result and a summary."""
        done: list[tuple[T, str]] = []
        warnings: list[str] = []

        def run(progress: Progress) -> None:
            with collecting_warnings(name) as logged:
                done.append(work(progress))
            warnings.extend(dict.fromkeys(logged))

        self.current = name
        yield ev.StageStarted(name, resumed)
        reset_peak_rss()
        start = time.perf_counter()
        yield from execute(ENGINES.get("local"), Task(name, self.out, "", here=run))
        seconds, ((result, summary),) = time.perf_counter() - start, done
        log.info("stage %s took %.1f s: %s", name, seconds, summary)
        yield ev.StageFinished(name, round(seconds, 3), peak_rss_bytes(), summary)
        yield from (ev.StageWarning(name, message) for message in warnings)
        return result

    def _photos(self, progress: Progress) -> tuple[Scene, str]:
        scene = load_scene(
            self.source,
            self.training.config,
            image_dir_name=self.training.image_dir_name,
            progress=progress,
        )
        for warning in scene.warnings:
            log.warning("%s", warning)
        text = f"{len(scene.views)} views of {self.source}"
        if scene.held_out:
            text += f", {len(scene.held_out)} held out"
        faces = [view for view in scene.views if view.cut_from]
        if faces:
            size = f"{faces[0].view.width} x {faces[0].view.height}"
            text += f"; {len(faces)} of them are faces of panoramas, of {size} pixels"
        return scene, text

    def _train(self, scene: Scene, progress: Progress) -> tuple[None, str]:
        from voxterra.surface.voxels.train import train

        config, out = self.training.config, self.out
        before = folder.read_training(out) if (out / folder.CONFIG).is_file() else None
        folder.write_training(self.training, out)
        try:
            model = train(scene, config, out=out, resume=self.resume, progress=progress)
        except (InputError, UsageError):
            if before is not None:  # options that the checkpoint cannot resume with are not kept
                folder.write_training(before, out)
            raise
        write_views(tuple(view.view for view in scene.training), out)
        model = replace(model, metadata={**model.metadata, **_frame_of(self.source)})
        folder.write_model(model, out, quantized=config.save_quantized)
        iterations = model.metadata.get("iterations", config.n_iter)
        return None, f"{model.n_voxels:,} voxels after {iterations} iterations"

    def _views(self, scene: Scene, progress: Progress) -> tuple[None, str]:
        from voxterra.surface.voxels.evaluate import score_views

        model = folder.read_model(self.out)  # as on disk, which may be quantised
        figures = score_views(model, scene, self.out, self.training.config, progress=progress)
        mean = figures["held_out"]
        text = f"{mean['views']} held out: PSNR {mean['psnr']:.2f} dB, SSIM {mean['ssim']:.4f}"
        if figures["lpips_missing"] is None:
            return None, f"{text}, LPIPS {mean['lpips']:.4f}"
        return None, text

    def _shown(self, error: BaseException) -> BaseException:
        """The error, with what can be done next: resume, or take less memory."""
        if isinstance(error, KeyboardInterrupt):
            return stopped(self.out, self.begun, resume=self.resume)
        if not is_out_of_memory(error) or isinstance(error, VoxterraError):
            return error
        return VoxterraError(
            "The memory of this machine does not suffice.",
            next_step="Take smaller photos (--res_width) or fewer voxels (--max_voxels), or close "
            "other programs.",
        )

    def _products(self) -> Generator[Event, None, None]:
        about = {
            folder.MODEL: f"trained voxels; as a mesh: voxterra mesh {self.out}",
            f"{folder.TEST_STAT}/curves.png": "course of the training",
            f"{folder.TEST_STAT}/views.json": "scores of the photos held out",
        }
        for name, description in about.items():
            path = self.out / name
            if path.is_file():
                yield ev.ProductWritten(name, description, path.stat().st_size)


def _frame_of(source: Path) -> dict[str, Any]:
    """The frame of a run's world on Earth, for meshes made from the model."""
    file = source / "stages" / "georef" / "georeference.json"
    if not file.is_file():
        return {}
    try:
        return {"frame": json.loads(file.read_text(encoding="utf-8"))["frame"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(
            f"The georeference cannot be read: {error}.",
            where=str(file),
            next_step="Do that step again: voxterra georef RUN.",
        ) from error
