"""`mdss run`: opens what the supervisor needs, runs it, and applies changed settings."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path

import click
import setproctitle
import zmq

from daemon.child import Child
from daemon.client_keys import token_of
from daemon.model_plan_store import ModelPlanStore
from daemon.model_swaps import ModelSwaps
from daemon.notify import Notifier
from daemon.open_files import OpenFiles
from daemon.process_table import process_table, processes
from daemon.reload import SettingsReloader
from daemon.spawn import lock_folder, start_process
from daemon.status import Board, serve
from daemon.stored_models import StoredModels
from daemon.supervisor import Supervisor, SupervisorServices
from mdss.drift_record import DriftWarning, warnings_of
from mdss.key_files import GROUP_READS
from mdss.logs import configure_logs
from mdss.retraining import read_records, retrain_folder
from mdss.settings import Settings, StationSettings, checked_settings
from mdss.verb_options import config_option
from mdss.wire.heartbeat import ReloadFlag
from mdss.wire.part_in_hand import take_part_in_hand
from mdss.wire.sockets import Receiver, Sender

NAME = "supervisor"


def supervise(settings: Settings, config: Path, hang_up: ReloadFlag) -> None:
    """Run the station with these settings until SIGTERM or SIGINT; SIGHUP reads the settings again."""
    os.umask(GROUP_READS)  # inherited by all processes; the sockets for cameras and subscribers let the station's group in
    station, limits = settings.station, settings.supervisor
    locks, reloading = lock_folders(station), SettingsReloader(config, settings)
    retrainings = partial(read_records, retrain_folder(station.state_directory))
    board = Board(station.name, time.monotonic, partial(drift_of, reloading), retrainings)
    server = serve(board, settings.http.host, settings.http.port, token_of(settings.http))
    context = zmq.Context()
    health, fusion = Receiver(context, "health", settings), Sender(context, "fusion", settings)
    files = OpenFiles(settings, time.monotonic)
    start = files.guarded(start_process)
    children = [Child(spec, start, limits, time.monotonic) for spec in processes(process_table(settings), reloading.file)]
    notifier = Notifier.from_environment(os.environ, time.monotonic)
    models = ModelSwaps(settings.models, StoredModels(settings), ModelPlanStore(station), time.monotonic)
    in_hand = partial(take_part_in_hand, Path(station.runtime_directory))
    services = SupervisorServices(health, board, notifier, fusion, in_hand, models, gone=files.trouble)
    supervisor = Supervisor(children, limits, services)
    signal.signal(signal.SIGTERM, supervisor.ask_to_stop)
    signal.signal(signal.SIGINT, supervisor.ask_to_stop)

    def look() -> None:
        if hang_up.take():
            reload(reloading, board, supervisor, models)

    try:
        models.begin()
        supervisor.run(look)
    finally:
        hang_up.end()
        server.shutdown()
        server.server_close()
        health.close()
        fusion.close()
        context.term()
        for lock in locks:
            os.close(lock)


def reload(reloading: SettingsReloader, board: Board, supervisor: Supervisor, models: ModelSwaps) -> None:
    """Read the settings again; if all changes can be applied, pass them on to everybody."""
    report = reloading.reload()
    board.reloaded(report)
    if report.is_applied:
        configure_logs(reloading.settings, NAME)
        supervisor.apply_limits(reloading.settings.supervisor)
        models.reconfigure(reloading.settings.models)


def lock_folders(station: StationSettings) -> tuple[int, int]:
    """Lock the runtime and the state directory, so that two stations never share sockets or stored data."""
    return (
        lock_folder("station.runtime_directory", Path(station.runtime_directory), "supervisor.lock"),
        lock_folder("station.state_directory", Path(station.state_directory), "station.lock"),
    )


def drift_of(reloading: SettingsReloader) -> tuple[DriftWarning, ...]:
    """Return the current drift warnings of the recipes in the settings."""
    settings = reloading.settings
    return warnings_of(Path(settings.station.state_directory), settings.models.recipes)


@click.command(epilog="Example: mdss run --config station.yaml")
@config_option
def command(config: Path) -> None:
    """Run the station with all its processes. SIGTERM or Ctrl-C drains and stops it; SIGHUP reads the settings again."""
    hang_up = ReloadFlag().listen()
    settings = checked_settings(config)
    configure_logs(settings, NAME)
    setproctitle.setproctitle("mdss: supervisor")
    supervise(settings, config, hang_up)
