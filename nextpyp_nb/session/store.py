"""The session's store: the one read-write connection (`Store`) and read-only ones (`Reader`).

Every method that writes is one transaction; several join one `with store.transaction():`. A write of an
older epoch raises `Fenced`. All methods may be called from any thread of the runner.

Movies (movies.py)
    add_movies([{name, source, relative, size, mtime_ns, inode}]) -> ids of the new ones
    movie_settling({id: reason}); movie_states({id: state}, {id: reason}); movie_transferring(id, operation)
    movie_done(id, path=, size=, hash=, mtime_ns=, inode=, source_size=,
        operation=, note=, acquisition=)
    movie_failed(id, reason, state="failed"); movie_changed(id, reason); release_transfers(ids)
    movie_acquisitions({id: columns}, {id: optics group}); acquisitions() -> rows
    retry_transfer(movie=None) -> n; clear_transfer() -> n; exclude(name, excluded); ignore(name)
    movies(*states) -> rows; movie(id or name) -> row; movie_names() -> set
    done_sources() -> set; taken() -> rows of the movies that are done
Pre-processing (tasks.py)
    claim_tasks(n, worker, revision, settings) -> [ClaimedTask(movie_id, name, path, first_stage, keys, ...)]
    commit_micrograph(task, record, particles_path=None)
    task_failed(task, "transient" | "deterministic" | "killed", reason, traceback) -> new state
    release_tasks(tasks) (cancelled: back to ready); release_running() -> counts (runner start, everything)
    reset_stages(settings) -> {"motion", "ctf", "picking", "retried": n} (Restart); retry(movie=None) -> n
    clear_preprocess() -> n; task_counts() -> {state: n}; next_retry() -> seconds or None
    trouble(since) -> sentence why to pause, or None
2D classification (rounds.py)
    pending_particles(ctf_max_resolution, key, passing, max_particles)
        -> Pending(particles, new, leaving, micrographs, last_round)
    begin_round(ctf_max_resolution=, key=, seed=, revision=, max_particles=)
        -> ClaimedRound(number, names, batches, particles, previous, ...)
    commit_round(number, classes, particles=, resolution=, path=, new=, churn=, annealed=)
    fail_round(number, reason); failed_rounds() -> n in a row; clear_classes() -> n
    mark_classes(identities, accepted or None)
The particles' size (particle_size.py), where the radius is left empty
    keep_size_curve(movie_id, settings, curve); size_curves(settings) -> [curve]
    keep_size_estimate(SizeEstimate(radius, micrographs, pixel_size)); size_estimate(settings) -> it or None
    with_estimate(settings) -> settings as they are worked with (applied_settings and apply_settings do that)
Columns of people's own (own_columns.py)
    set_column(name, {micrograph: number or None}) -> n; drop_column(name) -> n
The rest (ledger.py, database.py)
    latest_settings(), applied_settings(), apply_settings() -> (revision, Settings)
    save_revision(settings, actor) -> n
    set_track(name, state=, wanted=bool, message=); track(name) -> row
    log(code, text, track=, movie=, level=)
    begin_command(...) / acknowledge(uuid, ok, message) (called by inbox.collect / commands.apply)
    add_export(name, path, filter, options) -> id; set_export(id, state, message, path); exports(*states)
    save_filter(name, expression or None); filter(name); meta(key); set_meta(key, value)
    take_lease(...), beat(), release_lease(), lease_row() (called by lease.py); close()

A runner:  store = Store(folder / "session.db"); lease = acquire(store); store.release_running();
           revision, settings = store.apply_settings(); store.reset_stages(settings); ...;
           lease.beat() every second; lease.release(); store.close()
"""

from nextpyp_nb.session.database import Fenced
from nextpyp_nb.session.ledger import Ledger
from nextpyp_nb.session.movies import Movies
from nextpyp_nb.session.own_columns import OwnColumns
from nextpyp_nb.session.reader import Reader
from nextpyp_nb.session.rounds import ClaimedRound, Pending, Rounds
from nextpyp_nb.session.tasks import ClaimedTask, Tasks

__all__ = ["ClaimedRound", "ClaimedTask", "Fenced", "Pending", "Reader", "Store"]


class Store(Movies, Tasks, Rounds, Ledger, OwnColumns):
    """Everything the runner writes; see the head of this module."""
