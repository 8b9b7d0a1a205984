"""What a session survives: kills, failing disks, races, broken writers; each is counted, none is timed."""


class NotRun(Exception):
    """A trial that this machine cannot make; the message says why."""
