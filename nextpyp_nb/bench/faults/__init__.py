"""What a session survives: kills, failing disks, races, broken writers; each is counted, none is timed."""
